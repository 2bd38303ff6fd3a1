package divisi_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/internal/race"
)

// TestCancelAtAnyMoment cancels a job at random moments of its life: what there is of
// files and goroutines afterwards is what there was before. An output is absent or
// whole. DIVISI_CHAOS_RUNS is how often, DIVISI_CHAOS_SEED repeats the moments.
func TestCancelAtAnyMoment(t *testing.T) {
	few := 8
	if race.Short() {
		few = 3
	}
	times := fromEnv(t, "DIVISI_CHAOS_RUNS", few)
	random := rand.New(rand.NewPCG(uint64(fromEnv(t, "DIVISI_CHAOS_SEED", 1)), 0))
	dir := t.TempDir()
	in, tmp := writeText(t, filepath.Join(dir, "in"), text(200_000)), filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, out string) error {
		_, err := divisi.Run(ctx, wordcount, []string{in, out}, divisi.Parallelism(2), divisi.Partitions(4), divisi.Memory(64<<20), divisi.TempDir(tmp))
		return err
	}
	began := time.Now()
	if err := run(t.Context(), filepath.Join(dir, "whole")); err != nil {
		t.Fatal(err)
	}
	whole, want := time.Since(began), counts(text(200_000))
	before := names(t, dir)
	goroutines := runtime.NumGoroutine()
	canceled := 0
	for i := range times {
		out := filepath.Join(dir, fmt.Sprintf("out-%d", i))
		after := time.Duration(random.Int64N(int64(whole)))
		ctx, cancel := context.WithTimeoutCause(t.Context(), after, errors.New("the test cancels"))
		err := run(ctx, out)
		cancel()
		if err == nil {
			if got := parts(t, out); len(got) != len(want) {
				t.Errorf("cancelled after %v, and published %d words of %d", after, len(got), len(want))
			}
			if err := os.RemoveAll(out); err != nil {
				t.Fatal(err)
			}
		} else {
			canceled++
			if text := err.Error(); !strings.Contains(text, "cancel") && !strings.Contains(text, "deadline") {
				t.Errorf("cancelled after %v: %v", after, err)
			}
		}
		if now := names(t, dir); !slices.Equal(now, before) {
			t.Errorf("cancelled after %v, there is %q, before there was %q", after, now, before)
		}
	}
	if canceled == 0 {
		t.Errorf("none of %d jobs was cancelled before its end", times)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); runtime.NumGoroutine() > goroutines; { // connections end a moment later
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d goroutines, before there were %d", runtime.NumGoroutine(), goroutines)
		}
	}
}

// names are all files and folders below a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		all = append(all, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is no number", name, text)
	}
	return n
}
