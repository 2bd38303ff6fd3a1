package divisi_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/coordinator"
	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/worker"
)

// clusterProcess is this program as a process of a cluster, or as the job's program that
// such a process starts; false: it is none.
func clusterProcess() bool {
	if len(os.Args) < 2 {
		return false
	}
	var d interface{ Wait() error }
	var err error
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	switch a := os.Args[1:]; a[0] {
	case "--task-host", "--describe":
		divisi.MainArgs("random", randomJob, a)
	case "@coordinator": // ADDRESS STATE
		d, err = coordinator.Start(context.Background(), coordinator.Config{Listen: a[1], State: a[2], Standby: time.Second, TaskBytes: 1000, Log: log})
	case "@worker": // COORDINATORS DIR
		d, err = worker.Start(context.Background(), worker.Config{Coordinator: a[1], Dir: a[2], ID: filepath.Base(a[2]), Machine: filepath.Base(a[2]), Slots: 2, Memory: 16 << 20, Log: log})
	default:
		return false
	}
	if err == nil {
		go func() { // until the test has ended, however that came
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		err = d.Wait()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
	return true
}

// processes are two coordinators and three workers, which are started again when they end.
type processes struct {
	addrs string // of the coordinators
	hurt  *chaos.Cluster

	mu  sync.Mutex
	now map[string]chaos.Process
}

// startProcesses starts a cluster in a folder, which ends with the test.
func startProcesses(t *testing.T, dir string) *processes {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &processes{now: map[string]chaos.Process{}}
	c.hurt = &chaos.Cluster{Dir: dir, Processes: c.list}
	var addrs []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // once both are known
		addrs = append(addrs, l.Addr().String())
	}
	c.addrs = strings.Join(addrs, ",")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if hosts, err := chaos.Hosts(dir); err != nil || len(hosts) > 0 {
			t.Errorf("the cluster has ended, and there are left: %v, %v", hosts, err)
		}
	})
	for i, a := range addrs {
		wg.Go(func() {
			c.keep(ctx, chaos.Process{Role: chaos.Coordinator, ID: fmt.Sprint("coordinator-", i)}, "@coordinator", a, filepath.Join(dir, "state"))
		})
	}
	for i := range 3 {
		name := fmt.Sprint("worker-", i)
		wg.Go(func() {
			c.keep(ctx, chaos.Process{Role: chaos.Worker, ID: name}, "@worker", c.addrs, filepath.Join(dir, name))
		})
	}
	return c
}

func (c *processes) list() (ps []chaos.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.now)) {
		ps = append(ps, c.now[name])
	}
	return ps
}

// keep runs a process, again and again until ctx ends, and returns when it has ended.
func (c *processes) keep(ctx context.Context, p chaos.Process, args ...string) {
	log, err := os.OpenFile(filepath.Join(c.hurt.Dir, p.Role+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		panic(err)
	}
	defer log.Close()
	for ctx.Err() == nil {
		exe, err := os.Executable()
		if err != nil {
			panic(err)
		}
		cmd := exec.CommandContext(ctx, exe, args...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.WaitDelay = 10 * time.Second
		life, err := cmd.StdinPipe()
		cmd.Cancel = func() error { return life.Close() }
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			panic(err)
		}
		p.PID = cmd.Process.Pid
		c.mu.Lock()
		c.now[p.ID] = p
		c.mu.Unlock()
		cmd.Wait()
		c.mu.Lock()
		delete(c.now, p.ID)
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}
