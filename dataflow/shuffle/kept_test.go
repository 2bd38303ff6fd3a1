package shuffle

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/block/blocktest"
)

func rangeBytes(t *testing.T, path string, lo, hi int) []byte {
	t.Helper()
	r, err := Local{}.Fetch(t.Context(), Location{Path: path}, lo, hi)
	must(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A small output that is kept in memory is byte for byte what its files would be, of any
// number of partitions and rows, none among them, and also where some of it was spilled.
func TestKeptIsWhatFilesAre(t *testing.T) {
	schema := blocktest.AllTypes()
	room := kept.room
	for _, n := range []int{1, 2, 7} {
		for _, sizes := range [][]int{{}, {1}, {0, 120, 7, 1}} {
			for _, limit := range []int64{0, 40 << 10} {
				env := world(t, 0)
				all := random(uint64(n), env, schema, sizes...)
				if limit > 0 {
					env.Memory = dataflow.NewMemory("test", limit)
				}
				x := dataflow.Exchange{Kind: dataflow.Hash, Columns: []int{3, 7}, Partitions: n}
				var sealed [2]Sealed
				var dirs [2]string
				for i := range sealed {
					part, err := NewPartitioner(x, schema, env.Task, nil)
					must(t, err)
					dirs[i] = t.TempDir()
					sealed[i] = write(t, env, schema, part, dirs[i], Options{Codec: block.LZ4, Keep: i == 1}, all)
				}
				if n > 1 && len(files(t, dirs[1])) > 0 {
					t.Errorf("%d partitions of %v rows: files %v", n, sizes, files(t, dirs[1]))
				}
				if !slices.Equal(sealed[0].Partitions, sealed[1].Partitions) || sealed[0].Hash != sealed[1].Hash {
					t.Errorf("%d partitions of %v rows are sealed as %v, want %v", n, sizes, sealed[1], sealed[0])
				}
				for lo := range n {
					for hi := lo; hi <= n; hi++ {
						if !slices.Equal(rangeBytes(t, sealed[1].Path, lo, hi), rangeBytes(t, sealed[0].Path, lo, hi)) {
							t.Errorf("%d partitions of %v rows: %d to %d are others", n, sizes, lo, hi)
						}
					}
				}
				must(t, Inspect(io.Discard, sealed[1].Path))
				must(t, Remove(sealed[1].Path))
				if _, err := OpenFile(sealed[1].Path); dataflow.KindOf(err) != dataflow.InputLost {
					t.Errorf("a removed output: %v", err)
				}
				release(all)
			}
		}
	}
	if kept.room != room {
		t.Errorf("%d bytes of room are left of %d", kept.room, room)
	}
}

// What is large, or finds no room, becomes files.
func TestNotKept(t *testing.T) {
	room := kept.room
	defer func() { kept.room = room }()
	for _, c := range []struct {
		name string
		rows int
		room int64
		kept bool
	}{{"small", 10, room, true}, {"large", keptEach / 4, room, false}, {"no room", 10, 100, false}} {
		kept.room = c.room
		env, dir := world(t, 0), t.TempDir()
		b := intBatch(env.Alloc, make([]int32, c.rows)...)
		sealed := write(t, env, ints, &direct{n: 4}, dir, Options{Keep: true}, []dataflow.Batch{b})
		b.Release()
		if in := len(files(t, dir)) == 0; in != c.kept {
			t.Errorf("%s: files %v", c.name, files(t, dir))
		}
		must(t, readOutput(t, sealed.Path))
		must(t, Remove(sealed.Path))
		if kept.room != c.room {
			t.Errorf("%s: %d bytes of room are left of %d", c.name, kept.room, c.room)
		}
	}
	env, dir := world(t, 0), t.TempDir()
	b := intBatch(env.Alloc, make([]int32, 10)...)
	defer b.Release()
	env.Memory = dataflow.NewMemory("under pressure", 10)
	sealed := write(t, env, ints, one{}, dir, Options{Keep: true}, []dataflow.Batch{b})
	if len(files(t, dir)) != 2 {
		t.Errorf("under pressure there are files %v", files(t, dir))
	}
	must(t, Remove(sealed.Path))
}

// A folder that is removed takes its outputs along, and no others.
func TestForget(t *testing.T) {
	room := kept.room
	dir := t.TempDir()
	var paths []string
	for _, job := range []string{"a", "ab", filepath.Join("a", "deeper")} {
		env := world(t, 0)
		b := intBatch(env.Alloc, 1, 2, 3)
		paths = append(paths, write(t, env, ints, &direct{n: 4}, filepath.Join(dir, job, "shuffle"), Options{Keep: true}, []dataflow.Batch{b}).Path)
		b.Release()
	}
	Forget(filepath.Join(dir, "a"))
	for i, path := range paths {
		if _, err := OpenFile(path); (err == nil) != (i == 1) {
			t.Errorf("%s: %v", path, err)
		}
	}
	Forget(dir)
	if kept.room != room {
		t.Errorf("%d bytes of room are left of %d", kept.room, room)
	}
}
