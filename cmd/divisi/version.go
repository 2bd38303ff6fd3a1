package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/version"
)

type versionDoc struct {
	versioned
	Version  string `json:"version"`
	Protocol int    `json:"protocol"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: between(0, 0),
		RunE: func(*cobra.Command, []string) error {
			d := &versionDoc{Version: version.String(), Protocol: version.Protocol, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			return printOne(a, d, func(w io.Writer) { fmt.Fprint(w, versionLine()) })
		},
	}
	a.outputFlag(cmd)
	return cmd
}

func versionLine() string {
	return fmt.Sprintf("divisi %s (protocol %d, %s, %s/%s)\n", version.String(), version.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
