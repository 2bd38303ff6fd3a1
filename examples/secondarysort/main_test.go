package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/divisitest"
)

func TestSecondarysort(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	var skewed strings.Builder
	for range 5000 {
		user := 0
		if rnd.IntN(10) == 0 {
			user = rnd.IntN(30)
		}
		fmt.Fprintf(&skewed, "u%d\t%d\tpage\n", user, rnd.IntN(1_000_000)-1000)
	}
	for name, in := range map[string]string{
		"ordinary": "b\t100\nb\t-5\tx\na\t0\nb\t1900\nb\t1901\nb\t100\n\t7\n",
		"empty":    "",
		"one line": "a\t1",
		"skewed":   skewed.String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			users := map[string][]int64{}
			for line := range strings.Lines(in) {
				f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
				at, err := strconv.ParseInt(f[1], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				users[f[0]] = append(users[f[0]], at)
			}
			want := []string{}
			for u, times := range users {
				slices.Sort(times)
				sessions, begin, longest := 1, times[0], int64(0)
				for i, at := range times {
					if i > 0 && at-times[i-1] > 60 {
						sessions, begin = sessions+1, at
					}
					longest = max(longest, at-begin)
				}
				want = append(want, fmt.Sprintf("%s\t%d\t%d\t%d", u, sessions, len(times), longest))
			}
			slices.Sort(want)
			got := divisitest.RunArgs(t, secondarysort, func(in []string, out string) []string {
				return []string{"--pause", "1m", in[0], out}
			}, in)
			if !slices.Equal(got, want) {
				t.Errorf("got %d lines %.200q, want %d %.200q", len(got), got, len(want), want)
			}
		})
	}
}

func TestLineWithoutTime(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "events.txt")
	if err := os.WriteFile(in, []byte("a\t1\nb\tnoon\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := divisi.Run(context.Background(), secondarysort, []string{in, filepath.Join(dir, "out")}, divisi.TempDir(dir))
	if err == nil || !strings.Contains(err.Error(), "no time behind the first tab") || !strings.Contains(err.Error(), "events.txt:4") {
		t.Errorf("got %v, want what is wrong and where", err)
	}
}
