package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A daemon is a coordinator or worker that a test has started.
type daemon struct {
	cmd   *exec.Cmd
	ready readyLine
	took  time.Duration // from its start until it was ready
	log   *lockedBuffer
	ended chan struct{}
	err   error // how, once ended
}

// errNotReady: it has ended before it was ready.
var errNotReady = errors.New("ended before it was ready")

// launch starts a program and waits until it is ready. It is killed with the test.
func launch(t *testing.T, env []string, program string, args ...string) (*daemon, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := &daemon{cmd: exec.Command(program, append(args, "--ready", "3")...), log: &lockedBuffer{}, ended: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.ExtraFiles = []*os.File{w}
	d.cmd.Stderr = d.log
	begun := time.Now()
	err = d.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-d.ended
		if t.Failed() {
			t.Logf("%s %s said:\n%s", filepath.Base(program), strings.Join(args, " "), d.log)
		}
	})
	if json.NewDecoder(r).Decode(&d.ready) != nil {
		<-d.ended
		return d, fmt.Errorf("%w: %v", errNotReady, d.err)
	}
	d.took = time.Since(begun)
	return d, nil
}

func mustLaunch(t *testing.T, program string, args ...string) *daemon {
	t.Helper()
	d, err := launch(t, nil, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *daemon) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// startWorkers of a coordinator, or of several addresses with commas between.
func startWorkers(t *testing.T, n int, coordinators string) {
	t.Helper()
	for i := range n {
		mustLaunch(t, filepath.Join(bin, "divisi"), "worker", "--coordinator", coordinators, "--dir", t.TempDir(), "--slots", "2", "--id", fmt.Sprintf("w%d", i), "--memory", "256MiB")
	}
}

// freeAddress is one that nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// words writes n files of words and returns their folder and what a count of them is.
func words(t *testing.T, n int) (dir, want string) {
	t.Helper()
	dir = t.TempDir()
	counts := map[string]int{}
	for i := range n {
		var text strings.Builder
		for k := range 200 {
			w := fmt.Sprintf("w%d", (i*k+k)%37)
			counts[w]++
			text.WriteString(w)
			text.WriteString([]string{" ", "\n"}[k%10/9])
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.txt", i)), []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	for w, c := range counts {
		lines = append(lines, fmt.Sprintf("%s\t%d\n", w, c))
	}
	slices.Sort(lines)
	return dir, strings.Join(lines, "")
}

// outputOf reads what a job has published.
func outputOf(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "_SUCCESS")); err != nil {
		t.Error(err)
	}
	parts, err := filepath.Glob(filepath.Join(dir, "part-*"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		lines = slices.AppendSeq(lines, strings.Lines(string(b)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// submitJob sends the word count to a cluster.
func submitJob(t *testing.T, addr string, args ...string) string {
	t.Helper()
	return submitProgram(t, addr, filepath.Join(bin, "job"), args...)
}

// submitProgram sends a job's program to a cluster.
func submitProgram(t *testing.T, addr, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "divisi"), append([]string{"submit", "--cluster", addr, program, "--"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("submit: %v: %s", err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// example builds a program of the folder examples.
func example(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "../../examples/"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// listJobs are the ids of all jobs of a cluster.
func listJobs(t *testing.T, addr string) (ids []string) {
	t.Helper()
	c, err := client.DialPatiently(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	jobs, err := c.Jobs(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		ids = append(ids, j.GetId())
	}
	return ids
}

// finish waits for a job's end and returns its events.
func finish(t *testing.T, addr, id string) []*pb.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := client.DialPatiently(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	st, err := c.Wait(ctx, id)
	if err != nil || st.GetState() != pb.JobState_JOB_STATE_SUCCEEDED {
		t.Fatalf("job %s: %s %s, %v", id, st.GetState(), st.GetError(), err)
	}
	var all []*pb.Event
	for e, err := range c.Events(ctx, id, 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// ranOnce says that every task was done once and none of their outputs was lost.
func ranOnce(t *testing.T, events []*pb.Event) {
	t.Helper()
	done := map[string]int{}
	for _, e := range events {
		switch e.GetType() {
		case "task-done":
			done[fmt.Sprintf("%d/%d", e.GetTask().GetStage(), e.GetTask().GetIndex())]++
		case "output-lost", "task-lost", "worker-lost":
			t.Errorf("event %d: %s", e.GetSequence(), e.GetText())
		}
	}
	for task, n := range done {
		if n != 1 {
			t.Errorf("task %s was done %d times", task, n)
		}
	}
	if len(done) == 0 {
		t.Error("no task was done")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return console.Plain(l.b.String())
}
