package shuffle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/block/blocktest"
	"github.com/divisi-data/divisi/internal/race"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an environment whose memory, files and Arrow buffers are checked at the
// end of the test.
func world(t *testing.T, limit int64) *dataflow.Env {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	env := dataflow.NewEnv(t.Context())
	temp := t.TempDir()
	env.Alloc, env.Memory, env.Temp = mem, dataflow.NewMemory("test", limit), dataflow.DirTemp(temp)
	env.Task = dataflow.TaskID{Job: "j", Stage: 3, Index: 7, Attempt: 2}
	t.Cleanup(func() {
		mem.AssertSize(t, 0)
		if n := env.Memory.Used(); n != 0 {
			t.Errorf("%d bytes still reserved", n)
		}
		if left, _ := os.ReadDir(temp); len(left) != 0 {
			t.Errorf("temporary files left: %v", left)
		}
	})
	return env
}

// rowsOf spells out rows: what the comparisons are about.
func rowsOf(b dataflow.Batch) []string {
	rows := make([]string, b.NumRows())
	for i := range rows {
		var s strings.Builder
		for _, c := range b.Columns() {
			if d, ok := c.(*array.Dictionary); ok && d.IsValid(i) {
				s.WriteString(d.Dictionary().ValueStr(d.GetValueIndex(i)))
			} else {
				s.WriteString(c.ValueStr(i))
			}
			s.WriteByte('|')
		}
		rows[i] = s.String()
	}
	return rows
}

func drain(t *testing.T, s dataflow.Stream) []string {
	t.Helper()
	rows, err := tryDrain(t.Context(), s)
	must(t, err)
	return rows
}

func tryDrain(ctx context.Context, s dataflow.Stream) (rows []string, err error) {
	defer func() { err = errors.Join(err, s.Close(), s.Close()) }()
	for {
		b, err := s.Next(ctx)
		if err == io.EOF {
			if _, again := s.Next(ctx); again != io.EOF {
				return rows, fmt.Errorf("after the end: %v", again)
			}
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		if b.NumRows() == 0 {
			return rows, errors.New("an empty batch")
		}
		rows = append(rows, rowsOf(b)...)
		b.Release()
	}
}

func random(seed uint64, env *dataflow.Env, schema *arrow.Schema, sizes ...int) []dataflow.Batch {
	rng := rand.New(rand.NewPCG(seed, 1))
	var all []dataflow.Batch
	for _, n := range sizes {
		all = append(all, blocktest.Random(rng, env.Alloc, schema, n, 0.1))
	}
	return all
}

func release(all []dataflow.Batch) {
	for _, b := range all {
		b.Release()
	}
}

func write(t *testing.T, env *dataflow.Env, schema *arrow.Schema, p Partitioner, dir string, opt Options, all []dataflow.Batch) Sealed {
	t.Helper()
	w, err := NewWriter(env, schema, p, dir, opt)
	must(t, err)
	for _, b := range all {
		must(t, w.Write(b))
	}
	sealed, err := w.Seal()
	must(t, err)
	must(t, w.Abort()) // does nothing now
	again, err := w.Seal()
	must(t, err)
	if again.Path != sealed.Path {
		t.Error("a second Seal says something else")
	}
	return sealed
}

func TestWriteRead(t *testing.T) {
	schema := blocktest.AllTypes()
	for _, n := range []int{3, 20, 1}[:race.Tries(3, 3, 1)] {
		for _, limit := range []int64{0, 1, 200 << 10}[:race.Tries(3, 3, 2)] {
			for _, opt := range []Options{{}, {Codec: block.LZ4, FrameBytes: 2000}, {Codec: block.Zstd, BufferBytes: 50 << 10}} {
				t.Run(fmt.Sprintf("partitions=%d/limit=%d/%s", n, limit, opt.Codec), func(t *testing.T) {
					env := world(t, 0)
					all := random(uint64(n), env, schema, 1, 0, 120, 7, 1, 1, 1, 150, 2)
					defer release(all)
					if limit > 0 {
						env.Memory = dataflow.NewMemory("test", limit+int64(8*n*20)) // what runs themselves need
					}
					x := dataflow.Exchange{Kind: dataflow.Hash, Columns: []int{3, 7}, Partitions: n}
					part, err := NewPartitioner(x, schema, env.Task, nil)
					must(t, err)
					dir := t.TempDir()
					sealed := write(t, env, schema, part, dir, opt, all)
					checkOutput(t, env, schema, x, sealed, all)
					names := []string{}
					entries, _ := os.ReadDir(dir)
					for _, e := range entries {
						names = append(names, e.Name())
					}
					if want := []string{"3-7.2.data", "3-7.2.index"}; !slices.Equal(names, want) {
						t.Errorf("files %v, want %v", names, want)
					}
					must(t, Remove(sealed.Path))
					must(t, Remove(sealed.Path))
				})
			}
		}
	}
}

// checkOutput compares each partition, and ranges of them, with the rows that a
// plain loop puts there.
func checkOutput(t *testing.T, env *dataflow.Env, schema *arrow.Schema, x dataflow.Exchange, sealed Sealed, all []dataflow.Batch) {
	t.Helper()
	part, err := NewPartitioner(x, schema, env.Task, nil)
	must(t, err)
	n := part.Partitions()
	want := make([][]string, n)
	var hash uint64
	total := int64(0)
	for _, b := range all {
		dst := make([]int32, b.NumRows())
		must(t, part.Partition(dst, b))
		for i, row := range rowsOf(b) {
			want[dst[i]] = append(want[dst[i]], row)
		}
		h, err := dataflow.RowHash(b)
		must(t, err)
		hash += h
		total += b.NumRows()
	}
	if sealed.Hash != hash || sealed.Rows != total || len(sealed.Partitions) != n {
		t.Errorf("sealed %d rows, hash %x, %d partitions; want %d, %x, %d", sealed.Rows, sealed.Hash, len(sealed.Partitions), total, hash, n)
	}
	var bytes int64
	for p := range n {
		s, err := Read(sealed.Path, p, p+1, schema, env.Alloc)
		must(t, err)
		got := drain(t, s)
		if !slices.Equal(got, want[p]) {
			t.Fatalf("partition %d holds %d rows, want %d, or others", p, len(got), len(want[p]))
		}
		if sealed.Partitions[p].Rows != int64(len(want[p])) {
			t.Errorf("partition %d has %d rows by its seal", p, sealed.Partitions[p].Rows)
		}
		bytes += sealed.Partitions[p].Bytes
	}
	if info, err := os.Stat(DataPath(sealed.Path)); err != nil || info.Size() != sealed.Bytes || bytes != sealed.Bytes {
		t.Errorf("%v, %d bytes, %d in partitions, %v", info, sealed.Bytes, bytes, err)
	}
	for _, r := range [][2]int{{0, n}, {n / 3, n}, {n / 2, n / 2}} {
		s, err := Read(sealed.Path, r[0], r[1], schema, env.Alloc)
		must(t, err)
		if got := drain(t, s); !slices.Equal(got, slices.Concat(want[r[0]:r[1]]...)) {
			t.Errorf("partitions %v hold other rows", r)
		}
	}
	if _, err := Read(sealed.Path, 0, n+1, schema, env.Alloc); dataflow.KindOf(err) != dataflow.Fatal {
		t.Errorf("a partition too many: %v", err)
	}
	var dump strings.Builder
	must(t, Inspect(&dump, sealed.Path))
	must(t, Inspect(io.Discard, DataPath(sealed.Path)))
	if !strings.Contains(dump.String(), fmt.Sprintf("%d partitions, %d rows, %d bytes", n, total, bytes)) {
		t.Error(dump.String())
	}
}

// Batches that are large enough to be sorted as they come, between others, with rows for
// all of the partitions or for some.
func TestLargeBatches(t *testing.T) {
	flat := append(slices.Clone(ints.Fields()), arrow.Field{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true})
	coded := arrow.Field{Name: "d", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint8, ValueType: arrow.PrimitiveTypes.Int64}}
	for _, schema := range []*arrow.Schema{arrow.NewSchema(flat, nil), arrow.NewSchema(append(slices.Clone(flat), coded), nil)} {
		for _, limit := range []int64{0, 1 << 20} {
			env := world(t, limit)
			all := random(5, env, schema, smallBatch-1, smallBatch, 5000, 1, race.Tries(20_000, 20_000, 2000), 3)
			defer release(all)
			for _, n := range []int{2, 7, 700} {
				for _, kind := range []dataflow.ExchangeKind{dataflow.Hash, dataflow.Spread} {
					x := dataflow.Exchange{Kind: kind, Columns: []int{2}, Partitions: n}
					part, err := NewPartitioner(x, schema, env.Task, nil)
					must(t, err)
					opt := Options{FrameBytes: []int{0, 3000}[n%2]}
					checkOutput(t, env, schema, x, write(t, env, schema, part, t.TempDir(), opt, all), all)
				}
			}
		}
	}
}

func TestNoRows(t *testing.T) {
	env := world(t, 0)
	schema := blocktest.AllTypes()
	for _, kind := range []dataflow.ExchangeKind{dataflow.Single, dataflow.Spread} {
		x := dataflow.Exchange{Kind: kind, Partitions: 4}
		part, err := NewPartitioner(x, schema, env.Task, nil)
		must(t, err)
		checkOutput(t, env, schema, x, write(t, env, schema, part, t.TempDir(), Options{}, nil), nil)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	schema := blocktest.AllTypes()
	for _, limit := range []int64{0, 20000} {
		for _, n := range []int{1, 8} {
			env := world(t, 0)
			all := random(1, env, schema, 100, 100)
			defer release(all)
			env.Memory = dataflow.NewMemory("t", limit)
			dir := t.TempDir()
			w, err := NewWriter(env, schema, &spread{n: n}, dir, Options{BufferBytes: 1000, FrameBytes: 1000})
			must(t, err)
			for _, b := range all {
				must(t, w.Write(b))
			}
			must(t, w.Abort())
			must(t, w.Abort())
			if err := w.Write(all[0]); err == nil {
				t.Error("a write after Abort succeeds")
			}
			if _, err := w.Seal(); err == nil {
				t.Error("Seal after Abort succeeds")
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			if env.Memory.Used() != 0 {
				t.Errorf("%d bytes reserved", env.Memory.Used())
			}
		}
	}
}

func TestSealFails(t *testing.T) {
	env := world(t, 0)
	schema := blocktest.AllTypes()
	all := random(1, env, schema, 100)
	defer release(all)
	w, err := NewWriter(env, schema, &spread{n: 4}, t.TempDir()+"/no/such/folder", Options{})
	must(t, err)
	must(t, w.Write(all[0]))
	if _, err := w.Seal(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Seal into a missing folder: %v", err)
	}
}

// Small rows of one partition come in few frames, however small the batches.
func TestFramesAreCoalesced(t *testing.T) {
	env := world(t, 0)
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	all := random(1, env, schema, slices.Repeat([]int{1}, 2000)...)
	defer release(all)
	for _, n := range []int{1, 5} {
		sealed := write(t, env, schema, &spread{n: n}, t.TempDir(), Options{}, all)
		for p := range n {
			if got := frames(t, env, sealed, schema, p); got != 1 {
				t.Errorf("partition %d of %d has %d frames", p, n, got)
			}
		}
	}
}

// A partition with few and large rows has frames of the right size too.
func TestSkewedRowsDoNotMakeHugeFrames(t *testing.T) {
	env := world(t, 0)
	schema := arrow.NewSchema([]arrow.Field{{Name: "p", Type: arrow.PrimitiveTypes.Int32}, {Name: "s", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(env.Alloc, schema)
	defer b.Release()
	for i := range 4000 {
		big := i%100 == 0
		b.Field(0).(*array.Int32Builder).Append(map[bool]int32{true: 1}[big])
		b.Field(1).(*array.StringBuilder).Append(strings.Repeat("x", map[bool]int{true: 10000, false: 3}[big]))
	}
	all := []dataflow.Batch{b.NewRecordBatch()}
	defer release(all)
	sealed := write(t, env, schema, &direct{n: 2}, t.TempDir(), Options{FrameBytes: 50000}, all)
	if got := frames(t, env, sealed, schema, 1); got < 8 || got > 10 { // 400,000 bytes
		t.Errorf("%d frames for the large rows", got)
	}
	if got := frames(t, env, sealed, schema, 0); got > 2 {
		t.Errorf("%d frames for the small rows", got)
	}
}

func frames(t *testing.T, env *dataflow.Env, sealed Sealed, schema *arrow.Schema, p int) (n int) {
	s, err := Read(sealed.Path, p, p+1, schema, env.Alloc)
	must(t, err)
	defer s.Close()
	for {
		b, err := s.Next(t.Context())
		if err == io.EOF {
			return n
		}
		must(t, err)
		b.Release()
		n++
	}
}

// A frame carries the part of a dictionary that its rows use.
func TestDictionariesShrink(t *testing.T) {
	env := world(t, 0)
	dt := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	schema := arrow.NewSchema([]arrow.Field{{Name: "d", Type: dt, Nullable: true}}, nil)
	b := array.NewRecordBuilder(env.Alloc, schema)
	defer b.Release()
	for i := range 1000 {
		must(t, b.Field(0).(*array.BinaryDictionaryBuilder).AppendString(fmt.Sprintf("word number %d", i)))
	}
	b.Field(0).AppendNull()
	all := []dataflow.Batch{b.NewRecordBatch()}
	defer release(all)
	x := dataflow.Exchange{Kind: dataflow.Spread, Partitions: 100}
	part, _ := NewPartitioner(x, schema, env.Task, nil)
	sealed := write(t, env, schema, part, t.TempDir(), Options{}, all)
	if sealed.Bytes > 40000 {
		t.Errorf("%d bytes for 1001 words", sealed.Bytes)
	}
	checkOutput(t, env, schema, x, sealed, all)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
