package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/security"
	"github.com/divisi-data/divisi/worker"
)

type workerOptions struct {
	app    *app
	config worker.Config
	memory console.Size
	low    console.Size
	grace  time.Duration
	secure string // folder of its certificate
	tether tether
}

func workerCommand(a *app) *cobra.Command {
	o := workerOptions{app: a}
	cmd := &cobra.Command{
		Use: "worker", Short: "Run a worker", Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.config.Slots < 1 {
				return console.Exitf(console.Usage, "worker: --slots is 1 or more")
			}
			return runWorker(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config.Coordinator, "coordinator", "127.0.0.1:7070", "the coordinator's address; several with commas between, when there are standbys")
	f.StringVar(&o.config.Listen, "listen", "127.0.0.1:0", "address of the exchange, which other workers reach")
	f.StringVar(&o.config.Advertise, "advertise", "", "address at which others reach the exchange, if not at --listen")
	f.StringVar(&o.config.Machine, "machine", "", "workers with the same name read each other's files (default: found out)")
	f.StringVar(&o.config.Dir, "dir", "divisi-worker", "folder for shuffle files, logs and programs")
	f.StringVar(&o.config.Programs, "programs", "", "folder in which programs are looked for before they are fetched: the coordinator's artifacts, where it can be read")
	f.StringSliceVar(&o.config.SpillDirs, "spill-dir", nil, "more folders for spill and shuffle files (repeatable)")
	f.IntVar(&o.config.Slots, "slots", runtime.NumCPU(), "tasks at a time")
	f.Var(&o.memory, "memory", "budget of each task host, such as 2GiB (default: from the machine's)")
	f.StringVar(&o.config.Host, "host", "", "the name that locality compares with (default: the machine's)")
	f.StringVar(&o.config.Rack, "rack", "", "the rack, for locality")
	f.StringVar(&o.config.ID, "id", "", "the worker's name (default: random, kept in --dir)")
	o.low = 64 << 20
	f.Var(&o.low, "low-water", "room that must stay free on its disks; below it no task is taken")
	f.DurationVar(&o.config.KeepReady, "keep-ready", 2*time.Second, "how long the program of the last short job is kept started for another of the same program and environment; 0: it is not")
	f.DurationVar(&o.grace, "drain-grace", 30*time.Second, "how long tasks may go on after SIGTERM; 0: none")
	f.StringVar(&o.secure, "security", "", "folder of a worker's certificate, which \"divisi security init\" makes: TLS to all others; without it only loopback addresses are listened on")
	o.tether.flags(cmd)
	return cmd
}

func runWorker(ctx context.Context, o workerOptions) error {
	ctx, stop := signal.NotifyContext(o.tether.hold(ctx), os.Interrupt)
	defer stop()
	term := make(chan os.Signal, 2)
	signal.Notify(term, syscall.SIGTERM)
	defer signal.Stop(term)
	o.config.Log, o.config.Memory, o.config.LowWater = newLog(o.app), int64(o.memory), int64(o.low)
	var err error
	if o.config.Identity, err = ownIdentity(o.secure, security.Worker, o.config.Log); err != nil {
		return err
	}
	w, err := worker.Start(ctx, o.config)
	if errors.Is(err, security.ErrOpen) {
		return console.Exitf(console.Usage, "%w", err)
	}
	if err != nil {
		return err
	}
	go terminate(ctx, term, w, o)
	o.config.Log.Info("worker is ready", "id", w.ID(), "listen", w.Addr(), "coordinator", o.config.Coordinator)
	if err := o.tether.tell(readyLine{ID: w.ID(), Address: w.Addr()}); err != nil {
		w.Close()
		return err
	}
	return ended(ctx, w)
}

// terminate drains the worker at the first SIGTERM and ends it at the second.
func terminate(ctx context.Context, term <-chan os.Signal, w *worker.Worker, o workerOptions) {
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-term:
		}
		if !first || o.grace <= 0 {
			w.Close()
			return
		}
		o.config.Log.Info("asked to end: draining", "grace", o.grace)
		w.Drain(o.grace)
	}
}
