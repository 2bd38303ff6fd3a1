package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type topOptions struct {
	out     io.Writer
	jobs    func(ctx context.Context, state string, limit int) ([]*pb.JobStatus, error)
	workers func(ctx context.Context) ([]*pb.WorkerStatus, error)
	now     func() time.Time
	every   time.Duration
	once    bool
}

func topCommand(a *app) *cobra.Command {
	o := topOptions{out: a.out, now: time.Now}
	cmd := &cobra.Command{
		Use: "top", Short: "Watch workers and running jobs", Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			o.jobs, o.workers = c.Jobs, c.Workers
			if f, ok := a.out.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
				o.once = true
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return top(ctx, o)
		},
	}
	a.clusterFlags(cmd)
	cmd.Flags().BoolVar(&o.once, "once", false, "print one frame and stop")
	cmd.Flags().DurationVar(&o.every, "every", time.Second, "time between frames")
	return cmd
}

// top draws a frame each o.every until ctx ends; with once a single one.
func top(ctx context.Context, o topOptions) error {
	tick := time.NewTicker(max(o.every, 100*time.Millisecond))
	defer tick.Stop()
	for {
		frame, err := topFrame(ctx, o)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if o.once {
			_, err := o.out.Write(frame)
			return err
		}
		fmt.Fprintf(o.out, "\x1b[H\x1b[2J%s", frame)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func topFrame(ctx context.Context, o topOptions) ([]byte, error) {
	workers, err := o.workers(ctx)
	if err != nil {
		return nil, err
	}
	jobs, err := o.jobs(ctx, "active", 20)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = printTable(&b, func(w io.Writer) {
		fmt.Fprintln(w, "WORKER\tHOST\tSTATE\tRUNNING\tMEMORY\tDISK USED\tDISK FREE\tDONE\tFAILED")
		for _, k := range workers {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d/%d\t%s / %s\t%s\t%s\t%s\t%s\n", console.Plain(k.Id), console.Plain(k.Host), k.State, k.Running, k.Slots,
				console.Bytes(k.MemoryUsedBytes), console.Bytes(k.MemoryBytes), console.Bytes(k.DiskUsedBytes), console.Bytes(k.DiskFreeBytes),
				console.Count(k.TasksDone), console.Count(k.TasksFailed))
		}
		fmt.Fprintln(w)
	})
	if err != nil {
		return nil, err
	}
	err = printTable(&b, func(w io.Writer) { jobTable(w, jobs, o.now()) })
	return b.Bytes(), err
}
