package shuffle

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
)

const golden = "testdata/3-7.2" // version 1

var goldenKeys = []int32{5, -3, 8, 8, 1, 0, 2, 9, 12, 4, 4, 4}

// The golden files were written once by version 1 and must read for ever.
func TestGolden(t *testing.T) {
	env := world(t, 0)
	b := intBatch(env.Alloc, goldenKeys...)
	defer b.Release()
	part := &direct{n: 4}
	if os.Getenv("DIVISI_WRITE_GOLDEN") != "" {
		must(t, os.MkdirAll(filepath.Dir(golden), 0o777))
		write(t, env, ints, part, filepath.Dir(golden), Options{Codec: block.LZ4}, []dataflow.Batch{b})
	}
	h, err := dataflow.RowHash(b)
	must(t, err)
	x, err := ReadIndex(golden)
	must(t, err)
	sealed := Sealed{Path: golden, Rows: int64(len(goldenKeys)), Bytes: x.Bytes(), Hash: h}
	for _, e := range x.Entries {
		sealed.Partitions = append(sealed.Partitions, PartStat{Rows: e.Rows, Bytes: e.Bytes})
	}
	checkOutput(t, env, ints, dataflow.Exchange{Kind: dataflow.Direct, Columns: []int{0}, Partitions: 4}, sealed, []dataflow.Batch{b})
}

// copyGolden puts the golden output where a test may damage it.
func copyGolden(t *testing.T) string {
	out := filepath.Join(t.TempDir(), "out")
	for _, name := range []func(string) string{DataPath, IndexPath} {
		b, err := os.ReadFile(name(golden))
		must(t, err)
		must(t, os.WriteFile(name(out), b, 0o666))
	}
	return out
}

// Every flipped byte of either file is noticed and named.
func TestFlipEveryByte(t *testing.T) {
	out := copyGolden(t)
	for _, name := range []string{DataPath(out), IndexPath(out)} {
		data, err := os.ReadFile(name)
		must(t, err)
		for i := range data {
			for _, bit := range []byte{1 << (i % 8), 0xff} {
				data[i] ^= bit
				must(t, os.WriteFile(name, data, 0o666))
				if err := readOutput(t, out); dataflow.KindOf(err) != dataflow.Corrupt {
					t.Fatalf("%s byte %d ^ %#x: %v", filepath.Base(name), i, bit, err)
				}
				if err := Inspect(io.Discard, out); dataflow.KindOf(err) != dataflow.Corrupt {
					t.Fatalf("Inspect: %s byte %d ^ %#x: %v", filepath.Base(name), i, bit, err)
				}
				data[i] ^= bit
			}
		}
		for n := range data {
			must(t, os.WriteFile(name, data[:n], 0o666))
			if err := readOutput(t, out); dataflow.KindOf(err) != dataflow.Corrupt {
				t.Fatalf("%s cut at %d: %v", filepath.Base(name), n, err)
			}
		}
		must(t, os.WriteFile(name, data, 0o666))
	}
	must(t, readOutput(t, out))
}

func readOutput(t *testing.T, out string) error {
	s, err := Read(out, 0, 4, ints, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	_, err = tryDrain(t.Context(), s)
	return err
}

func TestAnotherSchema(t *testing.T) {
	other := arrow.NewSchema(slices.Concat(ints.Fields(), ints.Fields()[:1]), nil)
	if _, err := Read(golden, 0, 1, other, memory.DefaultAllocator); dataflow.KindOf(err) != dataflow.Corrupt {
		t.Errorf("another schema: %v", err)
	}
}

// Whatever an index says, reading it ends in an index that makes sense or an error.
func FuzzIndex(f *testing.F) {
	b, err := os.ReadFile(IndexPath(golden))
	must(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4 { // let it pass the checksum
			b = appendCRC(b[:len(b)-4])
		}
		x, err := decodeIndex(b)
		if err == nil && !slices.Equal(x.encode(), b) && x.Bytes() < 0 {
			t.Errorf("%+v", x)
		}
	})
}
