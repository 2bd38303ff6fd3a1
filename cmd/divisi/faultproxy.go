package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/faultproxy"
)

func faultproxyCommand(a *app) *cobra.Command {
	var cfg faultproxy.Config
	var rules string
	cmd := &cobra.Command{
		Use: "faultproxy --target ADDR", Short: "Put a bad network in front of an address, to test what is behind it", Args: between(0, 0),
		Long: "Pass TCP connections on to another address, and delay, slow down, swallow, cut or damage what passes.\n" +
			"RULES are names, some with values, separated by commas:\n" +
			"  delay=20ms jitter=5ms   each way\n" +
			"  rate=1000000            bytes a second, each way of each connection\n" +
			"  reset=0.01 flip=0.001   chance that a piece of data ends its connection, or has a bit turned over\n" +
			"  drop-up drop-down       swallow what goes to the target, or what comes back\n" +
			"  pause refuse            nothing moves; nobody new is let in",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Target == "" {
				return console.Exitf(console.Usage, "faultproxy: where to? name it by --target HOST:PORT")
			}
			if cfg.Rules, err = faultproxy.Parse(rules); err != nil {
				return console.Exitf(console.Usage, "faultproxy: %w", err)
			}
			return runFaultproxy(cmd.Context(), a, cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "address to listen on, of this machine only")
	f.StringVar(&cfg.Target, "target", "", "address to pass connections on to")
	f.StringVar(&rules, "rules", "", "what goes wrong (see above)")
	f.Uint64Var(&cfg.Seed, "seed", 1, "of the random choices")
	return cmd
}

func runFaultproxy(ctx context.Context, a *app, cfg faultproxy.Config) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := faultproxy.Start(ctx, cfg)
	if err != nil {
		return console.Exitf(console.JobFailed, "%w", err)
	}
	fmt.Fprintln(a.out, p.Addr())
	<-ctx.Done()
	p.Close()
	s := p.Stats()
	fmt.Fprintf(a.err, "%d connections, %s up, %s down, %d resets, %d bits turned over\n", s.Conns, console.Bytes(s.Up), console.Bytes(s.Down), s.Resets, s.Flips)
	return nil
}
