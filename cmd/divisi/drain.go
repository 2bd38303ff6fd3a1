package main

import (
	"time"

	"github.com/spf13/cobra"
)

func drainCommand(a *app) *cobra.Command {
	var grace time.Duration
	cmd := &cobra.Command{
		Use: "drain WORKER", Short: "Let a worker finish what it runs and go", Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Drain(cmd.Context(), args[0], grace)
		},
	}
	a.clusterFlags(cmd)
	cmd.Flags().DurationVar(&grace, "grace", 5*time.Minute, "how long tasks may go on")
	return cmd
}
