package divisi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/divisi-data/divisi/coordinator"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/worker"
)

// A local is a cluster in this process: coordinator, one worker, and its task
// hosts, over gRPC on loopback. Only the processes are missing.
type local struct {
	dirs   []string
	client *client.Client
	worker *worker.Worker
	coord  *coordinator.Coordinator
}

type localConfig struct {
	slots  int
	memory int64
	tmp    []string
	named  string // how tmp is given, for errors
	debug  bool

	taskBytes int64 // see coordinator.Config
}

// startLocal starts one in temporary folders of its own. The caller closes it.
func startLocal(ctx context.Context, build func(*dataflow.Job), cfg localConfig) (_ *local, err error) {
	l := &local{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.dirs, err = tempFolders(cfg.tmp, cfg.named); err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if cfg.debug {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	// What is running outlives ctx: a cancelled job is cleaned up first.
	own := context.WithoutCancel(ctx)
	l.coord, err = coordinator.Start(own, coordinator.Config{
		Listen: "127.0.0.1:0", State: filepath.Join(l.dirs[0], "coordinator"), Log: log,
		TaskBytes: cfg.taskBytes,
	})
	if err != nil {
		return nil, err
	}
	wc := worker.Config{
		Coordinator: l.coord.Addr(), Listen: "127.0.0.1:0", ID: "local",
		Dir:   filepath.Join(l.dirs[0], "worker"),
		Slots: cfg.slots, Memory: cfg.memory, Log: log,
		StartHost: hostInProcess(build),
	}
	for _, d := range l.dirs {
		wc.SpillDirs = append(wc.SpillDirs, filepath.Join(d, "spill"))
	}
	if l.worker, err = worker.Start(own, wc); err != nil {
		return nil, err
	}
	if l.client, err = client.Dial(ctx, l.coord.Addr()); err == nil {
		l.client.Patience = cleanWithin
	}
	return l, err
}

// tempFolders makes a folder in each that is given by the flag or option named, in the
// system's own if none is. With an error come those that were made.
func tempFolders(in []string, named string) ([]string, error) {
	if len(in) == 0 {
		in, named = []string{os.TempDir()}, "TMPDIR"
	}
	var made []string
	for _, t := range in {
		d, err := os.MkdirTemp(t, "divisi-")
		if err != nil {
			var at *os.PathError
			if errors.As(err, &at) {
				err = at.Err // the rest of it is a random name
			}
			return made, console.Exitf(console.Usage, "%s %s: no folder can be made in it for spill and shuffle files: %w; make it writable, or name another with %s", named, t, err, named)
		}
		made = append(made, d)
	}
	return made, nil
}

// cleanWithin is how long a job that did not succeed may clear up: with this process ends
// who could go on with it.
const cleanWithin = 10 * time.Second

// closeWithin is how long a process that is about to exit waits for its tasks.
const closeWithin = 10 * time.Second

// closeWithin is close for a process that exits next: user code that does not return
// cannot be killed in process, and is not waited for longer than d.
func (l *local) closeWithin(d time.Duration) {
	closed := make(chan struct{})
	go func() { defer close(closed); l.close() }()
	select {
	case <-closed:
	case <-time.After(d):
		l.removeFiles()
	}
}

// close ends everything and removes the folders.
func (l *local) close() error {
	var errs []error
	if l.client != nil {
		errs = append(errs, l.client.Close())
	}
	if l.worker != nil {
		errs = append(errs, l.worker.Close())
	}
	if l.coord != nil {
		errs = append(errs, l.coord.Close())
	}
	l.removeFiles()
	return errors.Join(errs...)
}

func (l *local) removeFiles() {
	for _, d := range l.dirs {
		os.RemoveAll(d)
	}
}
