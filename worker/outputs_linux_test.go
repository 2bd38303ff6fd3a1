package worker

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// heldBy says whether a registration names so many outputs, all of one job.
func heldBy(r *pb.Register, job string, n int) bool {
	return len(r.Held) == 1 && r.Held[0].Job == job && len(r.Held[0].Tasks) == n
}

// A worker that is started where one was killed has the outputs that are whole, and
// nothing else of it; after a restart of the machine it has nothing.
func TestOutputsOutliveTheirProcess(t *testing.T) {
	c := start(t, text, false)
	c.mapAll(c.prepare())
	before := files(t, filepath.Join(c.dir, "worker", "jobs", c.job.Id, "shuffle"))
	if len(before) < 2 {
		t.Fatalf("there are %v", before)
	}
	whole, err := os.ReadFile(before[slices.IndexFunc(before, func(n string) bool { return filepath.Ext(n) == ".index" })])
	if err != nil {
		t.Fatal(err)
	}
	// As it would be after a SIGKILL, in a folder of its own.
	killed := func() string {
		dir := filepath.Join(t.TempDir(), "worker")
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(c.dir, "worker"))); err != nil {
			t.Fatal(err)
		}
		jobs := filepath.Join(dir, "jobs")
		for name, text := range map[string][]byte{
			c.job.Id + "/spill/0-0.9/run": []byte("x"), c.job.Id + "/work/x": []byte("x"), // of attempts
			c.job.Id + "/shuffle/7-0.7.data.tmp": []byte("x"), // not sealed
			c.job.Id + "/shuffle/7-0.8.data":     []byte("x"), // without an index
			c.job.Id + "/shuffle/7-0.9.index":    whole,       // without its data
			c.job.Id + "/shuffle/7-1.0.index":    whole[:10], c.job.Id + "/shuffle/7-1.0.data": []byte("x"),
			"other/work/x": []byte("x"), leftover + "older/shuffle/0-0.1.data": []byte("x"),
		} {
			name = filepath.Join(jobs, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	again := func(dir string) *fakeCoordinator {
		f := newFake(t, "127.0.0.1:0", 7)
		w, err := Start(t.Context(), Config{Coordinator: f.addr, Dir: dir, Slots: 2, Memory: 1 << 30, Host: "h1", StartHost: inProcess(build)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		f.await()
		return f
	}

	dir := killed()
	r := again(dir).register
	if !heldBy(r, c.job.Id, len(before)/2) || r.Worker != c.w.ID() || r.Incarnation == c.register.Incarnation || len(r.Running) > 0 {
		t.Errorf("the worker registers %v; there were %v", r, before)
	}
	left := files(t, filepath.Join(dir, "jobs"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	for i := range before {
		before[i] = filepath.Base(before[i])
	}
	if !slices.Equal(left, before) {
		t.Errorf("left are %v, not %v", left, before)
	}

	dir = killed()
	if err := os.WriteFile(filepath.Join(dir, "boot"), []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := again(dir).register; len(r.Held) > 0 {
		t.Errorf("after a restart of the machine the worker registers %v", r)
	}
	if left := files(t, filepath.Join(dir, "jobs")); len(left) > 0 {
		t.Errorf("after a restart of the machine there are %v", left)
	}
}
