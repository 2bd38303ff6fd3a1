package ops

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// coded makes an array of texts by their codes, the last code being null's.
func coded(words *array.String, codes []uint32) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	for _, c := range codes {
		if int(c) == words.Len() {
			b.AppendNull()
		} else {
			b.Append(words.Value(int(c)))
		}
	}
	plain := b.NewStringArray()
	defer plain.Release()
	bufs := plain.Data().Buffers()
	return dataflow.CodedText(str, len(codes), plain.NullN(), bufs[0], bufs[1], bufs[2], memory.NewBufferBytes(arrow.Uint32Traits.CastToBytes(codes)), words)
}

// Groups by text whose codes are known are those of the text: with nulls, with other
// dictionaries in other batches, beside text without codes, with slices, where
// nearly all rows pass, and with so little memory that groups are spilled.
func TestAggregateCoded(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: str, Nullable: true}, {Name: "b", Type: str, Nullable: true}, {Name: "n", Type: i64}}, nil)
	text := func(i int) string {
		if i%3 == 0 {
			return fmt.Sprint("a word that is longer ", i)
		}
		return fmt.Sprint("w", i)
	}
	dictionary := func() *array.String {
		b := array.NewStringBuilder(memory.DefaultAllocator)
		defer b.Release()
		for i := range 40 {
			b.Append(text((i*7 + rng.IntN(2)*40) % 80))
		}
		return b.NewStringArray()
	}
	want := map[[2]string][2]int64{}
	var all []dataflow.Batch
	var words [2]*array.String
	for n := range 24 {
		if n%4 == 0 {
			words = [2]*array.String{dictionary(), dictionary()}
		}
		rows := []int{1, 700, 40}[n%3]
		cols := make([]arrow.Array, 3)
		for c := range words {
			codes := make([]uint32, rows)
			for i := range codes {
				if rng.IntN(3) > 0 { // skew
					codes[i] = uint32(rng.IntN(41))
				}
			}
			if cols[c] = coded(words[c], codes); n%8 == 7 && c == 1 {
				cols[c] = array.NewStringData(array.NewData(str, rows, cols[c].Data().Buffers(), nil, cols[c].NullN(), 0))
			}
		}
		nb := array.NewInt64Builder(memory.DefaultAllocator)
		for i := range rows {
			nb.Append(int64(i))
			key := [2]string{cols[0].ValueStr(i), cols[1].ValueStr(i)}
			if i >= rows/4 && i != 5 {
				want[key] = [2]int64{want[key][0] + 1, want[key][1] + int64(i)}
			}
		}
		cols[2] = nb.NewArray()
		b := array.NewRecordBatch(schema, cols, int64(rows))
		all = append(all, b.NewSlice(int64(rows/4), int64(rows)))
	}
	for _, limit := range []int64{0, 60 << 10, 6 << 10} {
		env := dataflow.NewEnv(t.Context())
		env.Memory, env.Temp, env.Spill = dataflow.NewMemory("test", limit), dataflow.DirTemp(t.TempDir()), block.NewSpill(block.None)
		o := aggregated(t, "final", expr.Col("n").Ne(5), []string{"a", "b"}, agg{"rows", "count", expr.Expr{}}, agg{"sum", "sum", expr.Col("n")})
		if _, err := o.Schema(schema); err != nil {
			t.Fatal(err)
		}
		s, err := o.Open(env, &canned{bs: all})
		if err != nil {
			t.Fatal(err)
		}
		out, err := opstest.Collect(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if cap(s.(*aggStream).groups.coded.at) == 0 {
			t.Error("codes were not made use of")
		}
		var got, expected []string
		for _, b := range out {
			for i := range int(b.NumRows()) {
				got = append(got, b.Column(0).ValueStr(i)+"|"+b.Column(1).ValueStr(i)+"|"+b.Column(2).ValueStr(i)+"|"+b.Column(3).ValueStr(i))
			}
		}
		for k, v := range want {
			expected = append(expected, fmt.Sprintf("%s|%s|%d|%d", k[0], k[1], v[0], v[1]))
		}
		slices.Sort(got)
		slices.Sort(expected)
		if !slices.Equal(got, expected) {
			t.Errorf("with %d bytes: %d groups, want %d", limit, len(got), len(expected))
		}
	}
}
