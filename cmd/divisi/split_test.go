package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/race"
)

// TestSplitOfASlowTask: the files of one split take much longer than all others. Its task
// gives a part of them away, other tasks read it, and each word is counted once.
func TestSplitOfASlowTask(t *testing.T) {
	if race.Short() {
		t.Skip("a task is slow after seconds")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.Mkdir(in, 0o755); err != nil {
		t.Fatal(err)
	}
	// About 120 small files are a split.
	const files, slow = 500, 110
	for i := range files {
		word := "quick"
		if i < slow {
			word = "slow"
		}
		if err := os.WriteFile(filepath.Join(in, fmt.Sprintf("f%03d", i)), fmt.Appendf(nil, "%s all w%d\n%s\n", word, i, word), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "divisi"), args...)
		var said strings.Builder
		cmd.Stderr = &said
		got, err := cmd.Output()
		if err != nil {
			t.Fatalf("divisi %s: %v\n%s%s", strings.Join(args, " "), err, got, said.String())
		}
		return strings.TrimSpace(string(got))
	}
	cluster := filepath.Join(dir, "cluster")
	t.Cleanup(func() { downAll(dir) })
	run("up", "--dir", cluster, "--workers", "2", "--slots", "2", "--detach")
	info, err := readCluster(cluster)
	if err != nil {
		t.Fatal(err)
	}
	id := run("submit", "--cluster", info.Coordinator, filepath.Join(bin, "job"), "--", "--slow", "slow", in, out)
	run("wait", "--cluster", info.Coordinator, id)

	want := []string{fmt.Sprintf("all\t%d\n", files), fmt.Sprintf("quick\t%d\n", 2*(files-slow)), fmt.Sprintf("slow\t%d\n", 2*slow)}
	for i := range files {
		want = append(want, fmt.Sprintf("w%d\t1\n", i))
	}
	slices.Sort(want)
	got, err := chaos.Lines(out)
	if err != nil {
		t.Fatal(err)
	}
	if diff := chaos.Compare(got, want); diff != "" {
		t.Error(diff)
	}
	c, err := client.Dial(t.Context(), info.Coordinator)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	splits := 0
	for e, err := range c.Events(t.Context(), id, 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		if e.GetType() == "task-split" {
			splits++
			t.Log(e.GetText())
		}
	}
	if splits == 0 {
		t.Error("no task has given anything away")
	}
}
