package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/internal/race"
)

// TestTakeOver stops a coordinator in the middle of a job and lets another take its
// place, by order or after its lease. The first one, when it goes on, writes nothing and
// ends; the job ends well and no finished task of it runs again.
func TestTakeOver(t *testing.T) {
	if race.Short() {
		t.Skip("waits for leases")
	}
	for _, how := range []string{"--take-over", "--standby"} {
		t.Run(how, func(t *testing.T) {
			in, want := words(t, 6)
			dir := t.TempDir()
			state, out, gate := filepath.Join(dir, "state"), filepath.Join(dir, "out"), filepath.Join(dir, "gate")
			divisi := filepath.Join(bin, "divisi")
			second := []string{"coordinator", "--listen", freeAddress(t), "--http", "", "--state", state}
			first := mustLaunch(t, divisi, "coordinator", "--listen", "127.0.0.1:0", "--http", "", "--state", state)
			startWorkers(t, 2, first.ready.Address+","+second[2])

			refused, err := launch(t, nil, divisi, second...)
			if !errors.Is(err, errNotReady) || !strings.Contains(refused.log.String(), "another coordinator uses this folder") || !strings.Contains(refused.log.String(), "at "+first.ready.Address) {
				t.Fatalf("a second one beside the first: %v, %s", err, refused.log)
			}
			done := submitJob(t, first.ready.Address, in, out+"-before")
			ranOnce(t, finish(t, first.ready.Address, done))
			id := submitJob(t, first.ready.Address, "--gate", gate, in, out)
			eventually(t, "a task that waits", func() bool { _, err := os.Stat(gate + ".waiting"); return err == nil })

			// A client that knows both addresses follows the job from one to the other.
			both := first.ready.Address + "," + second[2]
			wait := exec.Command(divisi, "wait", "--cluster", both, "--timeout", "3m", id)
			var said lockedBuffer
			wait.Stdout, wait.Stderr = &said, &said
			if err := wait.Start(); err != nil {
				t.Fatal(err)
			}
			waited := make(chan error, 1)
			go func() { waited <- wait.Wait() }()
			defer wait.Process.Kill()

			ready := make(chan *daemon, 1)
			if how == "--standby" { // it waits from before the fault
				go func() {
					d, err := launch(t, nil, divisi, append(second, how)...)
					if err != nil {
						t.Error(err)
					}
					ready <- d
				}()
				select {
				case <-ready:
					t.Fatal("the standby does not wait")
				case <-time.After(time.Second):
				}
			}
			first.signal(t, syscall.SIGSTOP)
			stopped := time.Now()
			if how == "--take-over" {
				ready <- mustLaunch(t, divisi, append(second, how)...)
			}
			next := <-ready
			t.Logf("the second one was ready %s after the first was stopped", time.Since(stopped).Round(time.Millisecond))
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			ranOnce(t, finish(t, next.ready.Address, id))
			t.Logf("the job ended %s after the first was stopped", time.Since(stopped).Round(time.Millisecond))
			if err := <-waited; err != nil {
				t.Errorf("the client that waits: %v: %s", err, &said)
			}
			submitted := submitJob(t, both, in, out+"-after") // while the first one is still stopped
			finish(t, both, submitted)

			first.signal(t, syscall.SIGCONT)
			select {
			case <-first.ended:
			case <-time.After(30 * time.Second):
				t.Fatal("the first one goes on")
			}
			var exit *exec.ExitError
			if !errors.As(first.err, &exit) || exit.ExitCode() != 1 || !strings.Contains(first.log.String(), journal.ErrFenced.Error()) || !strings.Contains(first.log.String(), "at "+next.ready.Address) {
				t.Errorf("the first one ended with %v", first.err)
			}
			if got := outputOf(t, out); got != want {
				t.Errorf("output:\n%s\nwant:\n%s", got, want)
			}
			for _, j := range []string{done, id} { // both are known
				finish(t, next.ready.Address, j)
			}
			next.signal(t, syscall.SIGTERM)
			<-next.ended
			var epoch uint64
			if err := journal.Read(filepath.Join(state, "journal"), func(r journal.Record) error {
				if r.Epoch < epoch && r.GetWorkerLeft() == nil {
					t.Errorf("record %d is of epoch %d, after one of epoch %d", r.Sequence, r.Epoch, epoch)
				}
				epoch = max(epoch, r.Epoch)
				return nil
			}); err != nil || epoch != 2 {
				t.Errorf("the journal is at epoch %d: %v", epoch, err)
			}
			left, err := filepath.Glob(filepath.Join(state, "journal.*"))
			if err != nil || len(left) != 1 || filepath.Base(left[0]) != "journal.gate" {
				t.Errorf("left beside the journal: %v, %v", left, err)
			}
		})
	}
}
