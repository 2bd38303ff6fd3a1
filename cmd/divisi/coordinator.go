package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/coordinator"
	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/security"
)

type coordinatorOptions struct {
	app    *app
	config coordinator.Config
	queues string
	wait   bool
	secure string // folder of its certificate
	tether tether
}

// standbySilence is how long a coordinator is not heard of before a standby takes over.
const standbySilence = 3 * time.Second

func coordinatorCommand(a *app) *cobra.Command {
	o := coordinatorOptions{app: a}
	cmd := &cobra.Command{
		Use: "coordinator", Short: "Run a coordinator", Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runCoordinator(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.config.Listen, "listen", "127.0.0.1:7070", "address for workers and clients")
	cmd.Flags().StringVar(&o.config.HTTP, "http", "127.0.0.1:7071", "address of the pages; empty: none")
	cmd.Flags().StringVar(&o.config.State, "state", "divisi-state", "folder of the journal and of uploaded programs")
	cmd.Flags().StringVar(&o.queues, "queues", "", "JSON file of queues: {\"queues\": [{\"name\", \"weight\", \"min_slots\", \"max_slots\", \"priority\"}]}")
	cmd.Flags().BoolVar(&o.wait, "standby", false, "if another coordinator has --state: wait until it is gone or silent for "+standbySilence.String()+", then take its place")
	cmd.Flags().BoolVar(&o.config.TakeOver, "take-over", false, "if another coordinator has --state: take it from that one, which ends when it finds out")
	cmd.Flags().DurationVar(&o.config.Hung, "hung", 5*time.Minute, "how long a task may get nowhere before it counts as failed")
	cmd.Flags().BoolVar(&o.config.CopyAll, "copy-all", false, "start a copy of each task as soon as it runs, for tests")
	cmd.Flags().MarkHidden("copy-all")
	cmd.Flags().StringVar(&o.secure, "security", "", "folder of a coordinator's certificate, which \"divisi security init\" makes: TLS to all others; without it only loopback addresses are listened on")
	o.tether.flags(cmd)
	return cmd
}

func runCoordinator(ctx context.Context, o coordinatorOptions) error {
	ctx, stop := signal.NotifyContext(o.tether.hold(ctx), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o.config.Log = newLog(o.app)
	if o.queues != "" {
		queues, err := coordinator.ReadQueues(o.queues)
		if err != nil {
			return console.Exitf(console.Usage, "%w", err)
		}
		o.config.Queues = queues
	}
	if o.wait {
		o.config.Standby = standbySilence
	}
	var err error
	if o.config.Identity, err = ownIdentity(o.secure, security.Coordinator, o.config.Log); err != nil {
		return err
	}
	c, err := coordinator.Start(ctx, o.config)
	if errors.Is(err, security.ErrOpen) {
		return console.Exitf(console.Usage, "%w", err)
	}
	if err != nil {
		if o.wait && ctx.Err() != nil {
			return nil // it was not needed
		}
		return err
	}
	o.config.Log.Info("coordinator is ready", "listen", c.Addr(), "http", c.HTTPAddr())
	if err := o.tether.tell(readyLine{Address: c.Addr(), HTTP: c.HTTPAddr()}); err != nil {
		c.Close()
		return err
	}
	return ended(ctx, c)
}

// ended waits for a daemon's end; that it was asked to end is no failure.
func ended(ctx context.Context, d interface {
	Wait() error
	Close() error
}) error {
	err := d.Wait()
	cerr := d.Close()
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = cerr
	}
	return err
}

func newLog(a *app) *slog.Logger {
	level := slog.LevelInfo
	if a.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}
