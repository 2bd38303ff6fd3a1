package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/client"
)

// TestCopiesOfAllTasks runs jobs on real processes with a second attempt beside each first
// one. One of the two wins, every word is counted once, and nothing of the others is left.
func TestCopiesOfAllTasks(t *testing.T) {
	in, want := words(t, 12)
	dir := t.TempDir()
	c := mustLaunch(t, filepath.Join(bin, "divisi"), "coordinator", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", filepath.Join(dir, "state"), "--copy-all")
	startWorkers(t, 3, c.ready.Address)
	cl, err := client.Dial(t.Context(), c.ready.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	outs := filepath.Join(dir, "outs")
	if err := os.Mkdir(outs, 0o755); err != nil {
		t.Fatal(err)
	}
	const jobs, control = 3, 4 // control tasks: splits, prepare, publish, clean
	tasks := int64(0)
	for range jobs {
		out := filepath.Join(outs, "out")
		id := submitJob(t, c.ready.Address, in, out)
		ranOnce(t, finish(t, c.ready.Address, id))
		st, err := cl.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		tasks += st.Tasks
		if got := outputOf(t, out); got != want {
			t.Errorf("output:\n%s\nwant:\n%s", got, want)
		}
		if !st.Cleaned || st.Left != "" {
			t.Errorf("job %s has left %q", id, st.Left)
		}
		entries, err := os.ReadDir(outs)
		if err != nil || len(entries) != 1 {
			t.Errorf("beside the output there is %v, %v", entries, err)
		}
		if entries, err = os.ReadDir(out); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "_SUCCESS" && !strings.HasPrefix(e.Name(), "part-") {
				t.Errorf("in the output there is %s", e.Name())
			}
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.Get("http://" + c.ready.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var started int64
	_, after, _ := strings.Cut(string(text), "\ndivisi_attempts_started_total ")
	if _, err := fmt.Sscan(after, &started); err != nil || started <= tasks+jobs*control {
		t.Errorf("%d attempts were started at %d tasks, %v: the jobs show nothing", started, tasks, err)
	}
}
