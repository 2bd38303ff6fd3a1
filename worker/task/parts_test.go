package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

func at(stage, index, attempt int32, worker string) *pb.BlockLocation {
	return &pb.BlockLocation{Task: &pb.TaskID{Job: "j", Stage: stage, Index: index, Attempt: attempt}, Worker: worker, Address: worker + ":1", Machine: "m-" + worker, DataDir: "/" + worker}
}

func tasksOf(l []shuffle.Location) string {
	var out []string
	for _, x := range l {
		out = append(out, fmt.Sprintf("%d/%d.%d@%s", x.Task.Stage, x.Task.Index, x.Task.Attempt, x.Worker))
	}
	return strings.Join(out, " ")
}

// The shares of a partition are all producers' outputs, each once, whatever the others are.
func TestShareOf(t *testing.T) {
	all := func() []shuffle.Location {
		l := newLocations()
		l.told(&pb.Locations{Exchange: 3, Version: 1, Blocks: []*pb.BlockLocation{
			at(1, 0, 7, "a"), at(1, 1, 8, "b"), at(1, 2, 9, "a"), at(1, 3, 10, "b"), at(1, 4, 11, "c"), at(2, 1, 12, "a"),
		}})
		return l.all(3)
	}
	for _, c := range []struct {
		share, of int
		want      string
	}{
		{0, 0, "1/0.7@a 1/1.8@b 1/2.9@a 1/3.10@b 1/4.11@c 2/1.12@a"},
		{0, 1, "1/0.7@a 1/1.8@b 1/2.9@a 1/3.10@b 1/4.11@c 2/1.12@a"},
		{0, 2, "1/0.7@a 1/2.9@a 1/4.11@c"},
		{1, 2, "1/1.8@b 1/3.10@b 2/1.12@a"},
		{2, 3, "1/2.9@a"},
		{5, 6, ""},
	} {
		if got := tasksOf(shareOf(all(), c.share, c.of)); got != c.want {
			t.Errorf("share %d of %d: %s, want %s", c.share, c.of, got, c.want)
		}
	}
	stage := plan.Stage{Inputs: []plan.Input{{Mode: plan.ByPartition}, {Mode: plan.ByPartition, Shared: true}}}
	for _, c := range []struct {
		share, of int32
		ok        bool
	}{{0, 0, true}, {0, 1, true}, {2, 3, true}, {3, 3, false}, {-1, 3, false}, {1, 0, false}, {0, -2, false}} {
		if err := fitsShare(stage, &pb.TaskSpec{Share: c.share, ShareOf: c.of}); (err == nil) != c.ok {
			t.Errorf("share %d of %d: %v", c.share, c.of, err)
		}
	}
}

func TestLocations(t *testing.T) {
	l := newLocations()
	if err := l.wait(t.Context(), map[int32]int64{3: 0}); err != nil {
		t.Errorf("an exchange whose producers ran no task is waited for: %v", err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if err := l.wait(ended, map[int32]int64{3: 1}); err != why {
		t.Errorf("a wait that is cancelled gives %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- l.wait(t.Context(), map[int32]int64{3: 2, 4: 1}) }()
	l.told(&pb.Locations{Exchange: 3, Version: 1, Blocks: []*pb.BlockLocation{at(1, 2, 7, "a")}})
	l.told(&pb.Locations{Exchange: 4, Version: 1})
	select {
	case err := <-waited:
		t.Errorf("the wait ended at half of what it was for: %v", err)
	default:
	}
	l.told(&pb.Locations{Exchange: 3, Version: 2, Blocks: []*pb.BlockLocation{at(1, 0, 9, "b"), at(0, 5, 2, "a")}})
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if got := tasksOf(l.all(3)); got != "0/5.2@a 1/0.9@b 1/2.7@a" {
		t.Errorf("in order of stage and index: %s", got)
	}
	// A task that ran again: its latest attempt counts.
	l.told(&pb.Locations{Exchange: 3, Version: 3, Blocks: []*pb.BlockLocation{at(1, 2, 11, "b")}})
	if got := tasksOf(l.one(3, 1, 2)); got != "1/2.11@b" {
		t.Errorf("the producer that ran again is at %s", got)
	}
	if got := l.one(3, 1, 99); got != nil {
		t.Errorf("a producer nobody told of is at %v", got)
	}
	l.told(&pb.Locations{Exchange: 3, Version: 1, Reset_: true, Blocks: []*pb.BlockLocation{at(1, 1, 12, "c")}})
	if got := tasksOf(l.all(3)); got != "1/1.12@c" {
		t.Errorf("after a reset: %s", got)
	}
	if got := l.all(77); got != nil {
		t.Errorf("of an unknown exchange: %v", got)
	}
	where := shuffle.Location{Worker: "c"}
	if got := l.near("m-c", "j")(where); got != "/c/jobs/j/shuffle" {
		t.Errorf("on the same machine the files are at %q", got)
	}
	for _, machine := range []string{"", "m-a"} {
		if got := l.near(machine, "j")(where); got != "" {
			t.Errorf("from machine %q the files are at %q", machine, got)
		}
	}
}

func TestTemp(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	tmp, err := newTemp([]string{a, b}, "2-7.9", 0)
	if err != nil {
		t.Fatal(err)
	}
	free := map[string]int64{tmp.dirs[0]: lowWater, tmp.dirs[1]: 2 * lowWater}
	tmp.free = func(dir string) int64 { return free[dir] }
	f, err := tmp.Create("../run")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if dir := filepath.Dir(f.Name()); dir != filepath.Join(b, "spill", "2-7.9") {
		t.Errorf("the file lies in %s, most room is in %s", dir, b)
	}
	// Now the other one has more.
	free[tmp.dirs[1]] = lowWater - 1
	if f, err = tmp.Create("run"); err != nil || !strings.HasPrefix(f.Name(), a) {
		t.Fatalf("%v, %v", f, err)
	}
	f.Close()
	free[tmp.dirs[0]] = 5
	_, err = tmp.Create("run")
	if !errors.Is(err, dataflow.ErrDiskFull) || dataflow.KindOf(err) != dataflow.DiskFull || !strings.Contains(err.Error(), tmp.dirs[1]) || !strings.Contains(err.Error(), fmt.Sprint(lowWater-1, " bytes free")) {
		t.Errorf("full disks give %v", err)
	}
	if err := tmp.remove(); err != nil {
		t.Error(err)
	}
	for _, d := range tmp.dirs {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", d)
		}
	}
	// Folders that cannot be made are not the user's mistake.
	if err := os.WriteFile(filepath.Join(a, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tmp.dirs = []string{filepath.Join(a, "file", "spill")}
	if _, err = tmp.Create("run"); dataflow.KindOf(err) != dataflow.Transient {
		t.Errorf("no folder gives %v (%s)", err, dataflow.KindOf(err))
	}
	if _, err := newTemp(nil, "x", 0); err == nil {
		t.Error("no folders are enough")
	}
}

func TestBudget(t *testing.T) {
	b := &budget{bytes: 1, root: dataflow.NewMemory("host", 80), lent: dataflow.NewMemory("lent", 40), own: 20}
	usual, larger := b.attempt("usual", 0), b.attempt("larger", 35)
	if usual.Limit() != 60 || larger.Limit() != 75 {
		t.Errorf("limits %d and %d, want 60 and 75", usual.Limit(), larger.Limit())
	}
	if !usual.TryReserve(60) || !larger.TryReserve(20) || larger.TryReserve(1) {
		t.Error("20 are own and 40 are lent, and all is the root's")
	}
	usual.Close()
	larger.Close()

	// A process near its budget lends nothing but what cannot be done without; far below it
	// all is as before, and between the two as it was.
	b.bytes = 1000
	for _, at := range []struct {
		occupied int64
		near     bool
		lends    bool
	}{{0, false, true}, {900, false, true}, {901, true, false}, {800, false, false}, {749, false, true}, {900, false, true}} {
		near := b.ration(at.occupied)
		lends := usual.TryReserve(60)
		if err := usual.Reserve(60 - usual.Used()); err != nil {
			t.Errorf("with %d of 1000 bytes occupied what cannot be done without is refused: %v", at.occupied, err)
		}
		usual.Close()
		if near != at.near || lends != at.lends {
			t.Errorf("with %d of 1000 bytes occupied: near the budget %v, lends %v; want %v, %v", at.occupied, near, lends, at.near, at.lends)
		}
	}

	// When watching ends, all is as before.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	b.bytes = 1
	b.watch(ended)
	if b.rssMax.Load() == 0 || !usual.TryReserve(60) {
		t.Errorf("resident %d; afterwards nothing is lent", b.rssMax.Load())
	}
	usual.Close()
	if m := newBudget("unlimited", 0, 2).attempt("a", 0); m.Limit() != 0 {
		t.Errorf("without a budget the limit is %d", m.Limit())
	}
}

// The collector's limit is that of the largest host in the process, and in the end the
// program's own.
func TestHeapLimits(t *testing.T) {
	const own = int64(5 << 40)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(own))
	now := func() int64 { return debug.SetMemoryLimit(-1) }
	a := newBudget("a", 2<<40, 1)
	b := newBudget("b", 3<<40, 1)
	newBudget("none", 0, 1).close()
	want := func(what string, bytes int64) {
		if now() != bytes {
			t.Errorf("%s: the limit is %d, want %d", what, now(), bytes)
		}
	}
	share, unused := limitShare, int64(len(ballast()))
	want("both", int64(share*float64(3<<40))+unused)
	b.close()
	want("one", int64(share*float64(2<<40))+unused)
	a.close()
	a.close()
	want("none", own)
}

// While there is a limit the collector waits for more garbage, unless the program said how
// much.
func TestGarbagePercent(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer debug.SetGCPercent(debug.SetGCPercent(usualPercent))
	for own, want := range map[int]int{usualPercent: garbagePercent, 50: 50, 800: 800} {
		debug.SetGCPercent(own)
		a, b := newBudget("a", 2<<40, 1), newBudget("b", 1<<40, 1)
		a.close()
		during := debug.SetGCPercent(own)
		debug.SetGCPercent(during)
		b.close()
		after := debug.SetGCPercent(own)
		if during != want || after != own {
			t.Errorf("where the program has %d, it is %d with a limit and %d after it, want %d and %d", own, during, after, want, own)
		}
	}
}

func TestChunked(t *testing.T) {
	for _, n := range []int{0, 1, splitsPerMessage, splitsPerMessage + 1, 3*splitsPerMessage + 7} {
		r := &pb.TaskResult{Id: &pb.TaskID{Attempt: 5}, Kind: pb.TaskKind_TASK_KIND_SPLITS, RowHash: 9}
		var want, got []string
		for i := range n {
			want = append(want, fmt.Sprint(i))
			r.Splits = append(r.Splits, &pb.Split{Id: fmt.Sprint(i)})
		}
		parts := chunked(r)
		for i, p := range parts {
			for _, s := range p.Splits {
				got = append(got, s.Id)
			}
			if p.Id.Attempt != 5 || p.Kind != r.Kind || p.More != (i < len(parts)-1) || len(p.Splits) > splitsPerMessage {
				t.Errorf("part %d of %d: %d splits, more %v", i, len(parts), len(p.Splits), p.More)
			}
		}
		if !slices.Equal(got, want) || parts[len(parts)-1].RowHash != 9 {
			t.Errorf("%d splits become %d", n, len(got))
		}
	}
}

func TestDifference(t *testing.T) {
	if got, want := difference("a\nb\nc\n", "a\nx\nc\n"), "- b\n+ x\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTail(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(name, []byte("one\ntwo\nthr\xffee\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int64]string{100: "one\ntwo\nthr\uFFFDee\n", 9: "thr\uFFFDee\n", 3: ""} {
		if got := tail(name, n); got != want {
			t.Errorf("the last %d bytes: %q, want %q", n, got, want)
		}
	}
	if got := tail(name+"-not", 10); got != "" {
		t.Errorf("of no file: %q", got)
	}
}

// What a program or its environment said of the collector holds.
func TestRelax(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(usualPercent))
	for own, want := range map[int]int{usualPercent: garbagePercent, 50: 50, 800: 800, -1: -1} {
		debug.SetGCPercent(own)
		Relax()
		Relax()
		if got := debug.SetGCPercent(usualPercent); got != want {
			t.Errorf("of %d becomes %d, want %d", own, got, want)
		}
	}
}
