package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/security"
)

// certificateDays is how long certificates count unless said otherwise.
const certificateDays = 365

func securityCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "security", Short: "Make the certificates of a cluster with TLS", Args: between(0, 0),
		Long: "A cluster with TLS has one private authority and a certificate for each role. \"security init DIR\" makes\n" +
			"DIR/coordinator, DIR/worker and DIR/client: copy each to where that runs, and name it there by --security.\n" +
			"DIR/authority makes all others: keep it to yourself.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		certificatesCommand(a, "init", "Make an authority, and a certificate for each role", security.Init),
		certificatesCommand(a, "renew", "Make new certificates for all roles, by the same authority; those who run read them when they are in their place", security.Renew),
		&cobra.Command{
			Use: "show DIR", Short: "List the certificates and when they expire", Args: between(1, 1),
			RunE: func(_ *cobra.Command, args []string) error { return showCertificates(a, args[0]) },
		},
	)
	return cmd
}

func certificatesCommand(a *app, name, short string, do func(dir string, valid time.Duration) error) *cobra.Command {
	var valid time.Duration
	cmd := &cobra.Command{
		Use: name + " DIR", Short: short, Args: between(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := do(args[0], valid); err != nil {
				return err
			}
			return showCertificates(a, args[0])
		},
	}
	cmd.Flags().DurationVar(&valid, "valid", certificateDays*24*time.Hour, "how long the certificates count")
	return cmd
}

// showCertificates prints one line for each role.
func showCertificates(a *app, dir string) error {
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ROLE\tFOLDER\tUNTIL")
	for _, r := range security.Roles() {
		at := filepath.Join(dir, string(r))
		until, err := security.Until(at, r)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", r, at, until.UTC().Format(time.RFC3339))
	}
	return w.Flush()
}

// ownIdentity is a daemon's; nil without a folder.
func ownIdentity(dir string, r security.Role, log *slog.Logger) (*security.Identity, error) {
	if dir == "" {
		return nil, nil
	}
	id, err := security.Load(dir, r, log)
	if err != nil {
		return nil, console.Exitf(console.Usage, "--security %s: %w", dir, err)
	}
	return id, nil
}
