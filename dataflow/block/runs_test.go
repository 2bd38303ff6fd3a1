package block

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block/blocktest"
)

// TestEncodeRuns compares the frame of runs of rows with that of one batch of the same
// rows, column type by column type and all together, of batches and of slices of them.
func TestEncodeRuns(t *testing.T) {
	var flat []arrow.Field
	for _, f := range blocktest.AllTypes().Fields() {
		schema := arrow.NewSchema([]arrow.Field{f}, nil)
		_, ok := flatWidths(schema)
		t.Run(f.Name, func(t *testing.T) { encodeRuns(t, schema, ok) })
		if ok {
			flat = append(flat, f)
		}
	}
	if len(flat) < 10 {
		t.Fatalf("only %d types are taken", len(flat))
	}
	t.Run("together", func(t *testing.T) { encodeRuns(t, arrow.NewSchema(flat, nil), true) })
}

func encodeRuns(t *testing.T, schema *arrow.Schema, flat bool) {
	rng := rand.New(rand.NewPCG(9, 30))
	for _, codec := range codecs {
		enc, err := NewEncoder(schema, codec)
		must(t, err)
		for round := range 20 {
			var batches []dataflow.Batch
			for range 1 + rng.IntN(4) {
				n := 1 + rng.IntN(40)
				b := blocktest.Random(rng, memory.DefaultAllocator, schema, n, 0)
				if from := rng.IntN(n); round%2 == 1 {
					b = b.NewSlice(int64(from), int64(n))
				}
				batches = append(batches, b)
			}
			var runs []Run
			for range 1 + rng.IntN(30) {
				b := rng.IntN(len(batches))
				from := rng.IntN(int(batches[b].NumRows()))
				to := from + 1 + rng.IntN(int(batches[b].NumRows())-from)
				runs = append(runs, Run{int32(b), int32(from), int32(to)})
			}
			want, err := enc.Encode([]byte("before"), together(t, schema, batches, runs))
			must(t, err)
			got, ok, err := enc.EncodeRuns([]byte("before"), batches, runs)
			must(t, err)
			if !flat {
				want = []byte("before")
			}
			if ok != flat || !bytes.Equal(got, want) {
				t.Fatalf("%s, runs %v: done %v, want %v; frame\n%x\nwant\n%x", codec, runs, ok, flat, got, want)
			}
		}
	}
}

// together is one batch of the rows.
func together(t *testing.T, schema *arrow.Schema, batches []dataflow.Batch, runs []Run) dataflow.Batch {
	t.Helper()
	var cols []arrow.Array
	rows := int64(0)
	for _, r := range runs {
		rows += int64(r.To - r.From)
	}
	for c := range schema.NumFields() {
		var pieces []arrow.Array
		for _, r := range runs {
			pieces = append(pieces, array.NewSlice(batches[r.Batch].Column(c), int64(r.From), int64(r.To)))
		}
		if schema.Field(c).Type.ID() == arrow.NULL {
			cols = append(cols, array.NewNull(int(rows)))
			continue
		}
		col, err := array.Concatenate(pieces, memory.DefaultAllocator)
		must(t, err)
		cols = append(cols, col)
	}
	return array.NewRecordBatch(schema, cols, rows)
}

// TestEncodeRunsRefuses: nulls, and batches of another schema.
func TestEncodeRunsRefuses(t *testing.T) {
	field := arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	schema := arrow.NewSchema([]arrow.Field{field, {Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	other := arrow.NewSchema([]arrow.Field{field}, nil)
	enc, err := NewEncoder(schema, None)
	must(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	whole := blocktest.Random(rng, memory.DefaultAllocator, schema, 50, 0)
	nulls := blocktest.Random(rng, memory.DefaultAllocator, schema, 50, 0.5)
	runs := []Run{{0, 0, 10}, {1, 0, 10}}
	if got, ok, err := enc.EncodeRuns(nil, []dataflow.Batch{whole, nulls}, runs); ok || err != nil || len(got) > 0 {
		t.Errorf("rows with nulls: %v, %v, %d bytes", ok, err, len(got))
	}
	if got, ok, err := enc.EncodeRuns(nil, []dataflow.Batch{whole, blocktest.Random(rng, memory.DefaultAllocator, other, 50, 0)}, runs); ok || err == nil || len(got) > 0 {
		t.Errorf("rows of another schema: %v, %v, %d bytes", ok, fmt.Sprint(err), len(got))
	}
	if _, ok, err := enc.EncodeRuns(nil, []dataflow.Batch{whole}, runs[:1]); !ok || err != nil {
		t.Errorf("after that: %v, %v", ok, err)
	}
}
