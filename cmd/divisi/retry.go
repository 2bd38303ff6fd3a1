package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func retryCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "retry JOB", Short: "Submit an ended job again, as a new one; prints its id", Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			id, err := c.Retry(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, id)
			return err
		},
	}
	a.clusterFlags(cmd)
	return cmd
}
