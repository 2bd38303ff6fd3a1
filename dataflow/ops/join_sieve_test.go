package ops

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// sieved leaves out every row that a sieve lets it leave out.
type sieved struct {
	dataflow.Stream
	t       *testing.T
	sieves  []dataflow.Sieve
	dropped *int
}

func (s *sieved) Sieve(v dataflow.Sieve) { s.sieves = append(s.sieves, v) }

func (s *sieved) Next(ctx context.Context) (dataflow.Batch, error) {
	for {
		b, err := s.Stream.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range s.sieves {
			if b = s.apply(v, b); b == nil {
				break
			}
		}
		if b != nil {
			return b, nil
		}
	}
}

func (s *sieved) apply(v dataflow.Sieve, b dataflow.Batch) dataflow.Batch {
	var values []arrow.Array
	for _, name := range v.Columns {
		at := b.Schema().FieldIndices(name)
		if len(at) != 1 {
			s.t.Fatalf("a sieve is about %q, of which the stream has %d", name, len(at))
		}
		values = append(values, b.Column(at[0]))
	}
	rows, all, err := v.Pass(values)
	if err != nil {
		s.t.Fatal(err)
	}
	if all {
		return b
	}
	defer b.Release()
	*s.dropped += int(b.NumRows()) - len(rows)
	if len(rows) == 0 {
		return nil
	}
	var cols []arrow.Array
	for _, c := range b.Columns() {
		some, err := expr.Gather(memory.DefaultAllocator, c, rows)
		if err != nil {
			s.t.Fatal(err)
		}
		defer some.Release()
		cols = append(cols, some)
	}
	return array.NewRecordBatch(b.Schema(), cols, int64(len(rows)))
}

// side is rows of a key, of which some are null, and a number.
func side(rng *rand.Rand, name string, rows int, keys int64) dataflow.Batch {
	b := keyed(rows, func(int) int64 { return rng.Int64N(keys) - 1 })
	schema := arrow.NewSchema([]arrow.Field{
		{Name: name + "_key", Type: i64, Nullable: true}, {Name: name + "_row", Type: i64, Nullable: true}}, nil)
	return array.NewRecordBatch(schema, b.Columns(), b.NumRows())
}

// Whatever a source leaves out by the sieves it is given, a join of a join, with columns
// renamed between the two, gives the same rows.
func TestJoinSieves(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 4))
	for _, rows := range [][3]int{{300, 40, 30}, {300, 0, 30}, {300, 40, 0}, {0, 3, 3}, {2000, 6000, 20}} {
		in := []dataflow.Batch{side(rng, "a", rows[0], 400), side(rng, "b", rows[1], 400), side(rng, "c", rows[2], 400)}
		eachJoin(t, func(t *testing.T, typ, build string) {
			for _, second := range joinTypes {
				dropped := 0
				var want, got []string
				for _, sieving := range []bool{false, true} {
					open := func(env *dataflow.Env, i int) dataflow.Stream {
						s := opstest.Slice(env.Alloc, in[i], 64)
						if sieving {
							return &sieved{Stream: s, t: t, dropped: &dropped}
						}
						return s
					}
					env := dataflow.NewEnv(t.Context())
					var s dataflow.Stream
					schema := in[0].Schema()
					under := func(o dataflow.Operator, with ...int) {
						streams, schemas := []dataflow.Stream{s}, []*arrow.Schema{schema}
						for _, i := range with {
							streams, schemas = append(streams, open(env, i)), append(schemas, in[i].Schema())
						}
						var err error
						if schema, err = o.Schema(schemas...); err == nil {
							s, err = o.Open(env, streams...)
						}
						if err != nil {
							t.Fatal(err)
						}
					}
					s = open(env, 0)
					under(join(t, typ, build, []int{0}, []int{0}), 1)
					under(selection{Columns: []named{{"key", expr.Col("a_key")}, {"b", expr.Col("a_row")}, {"twice", expr.Col("a_row").Mul(2)}}})
					under(join(t, second, "right", []int{0}, []int{0}), 2)
					out, err := opstest.Collect(t.Context(), s)
					if err != nil {
						t.Fatal(err)
					}
					got = opstest.Rows(out...)
					slices.Sort(got)
					if !sieving {
						want = got
					}
				}
				what := fmt.Sprintf("%s join of %d rows with %d, %s join with %d", typ, rows[0], rows[1], second, rows[2])
				if !slices.Equal(got, want) {
					t.Errorf("%s: %d rows where the source leaves some out, %d where it does not", what, len(got), len(want))
				}
				if typ == "inner" && build == "right" && second == "inner" && rows[0] > 0 && dropped == 0 {
					t.Errorf("%s: nothing was left out", what)
				}
			}
		})
	}
}
