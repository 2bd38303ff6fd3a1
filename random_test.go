package divisi_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

var (
	seeds = flag.Uint64("seeds", 0, "how many random pipelines to run; 0: as many as fit a test")
	first = flag.Uint64("first", 1, "the first of them")
	seed  = flag.Uint64("seed", 0, "the one random pipeline to run and to print")
)

// A randomPipeline is random tables and random steps over them; the last one's rows
// are written.
type randomPipeline struct {
	inputs []*plainTable
	format format // of the inputs
	steps  []*plainStep
}

func (p *randomPipeline) String() string {
	var b strings.Builder
	for i, s := range p.steps {
		if i == 0 {
			fmt.Fprintf(&b, "  inputs of %s\n", p.format.name)
		}
		fmt.Fprintf(&b, "  %d: of %v %s: %d rows of %s\n", i, s.in, s.says, len(s.out.rows), s.out.schema().Fields())
	}
	return b.String()
}

// format is one in which tables can lie in files.
type format struct {
	name string
	from func(path ...string) df.FileSource[df.Table]
	to   func(path string) df.FileSink[df.Table]
}

var formats = []format{
	{"arrow", df.FromArrow[df.Table], df.ArrowFile[df.Table]},
	{"parquet", df.FromParquet[df.Table], df.Parquet[df.Table]},
	{"avro", df.FromAvro[df.Table], df.Avro[df.Table]},
	{"jsonl", df.FromJSONLines[df.Table], df.JSONLines[df.Table]},
	{"csv", df.FromCSV[df.Table], df.CSV[df.Table]},
}

// holds says whether a format gives back what was written to it.
func (f format) holds(t *plainTable) bool {
	for c, col := range t.fields {
		if ts, ok := col.Type.(*arrow.TimestampType); ok && ts.Unit == arrow.Second && (f.name == "parquet" || f.name == "avro") {
			return false
		}
		for _, row := range t.rows {
			switch v := row[c].(type) {
			case float64: // there is no such number; null is written
				if f.name == "jsonl" && (math.IsNaN(v) || math.IsInf(v, 0)) {
					return false
				}
			case *big.Rat:
				if f.name == "avro" && col.Type.ID() == arrow.UINT64 && !v.Num().IsInt64() {
					return false
				}
			case nil: // the empty text is a null
				if f.name == "csv" && (kindOf(col.Type) == "text" || col.Type.ID() == arrow.BINARY) {
					return false
				}
			case string:
				if f.name == "csv" && (v == "" && col.Nullable || col.Type.ID() == arrow.BINARY) {
					return false
				}
			case []any:
				if f.name == "csv" {
					return false
				}
			}
		}
	}
	return true
}

// build is the job; its arguments are the folders of the inputs and the output.
func (p *randomPipeline) build(n int) func(j *df.Job) {
	return func(j *df.Job) {
		df.WriteTable(p.table(j, n), df.ArrowFile[df.Table](j.Arg(len(p.inputs))))
	}
}

func (p *randomPipeline) table(j *df.Job, n int) df.Table {
	made := map[int]df.Table{}
	var table func(n int) df.Table
	table = func(n int) df.Table {
		t, ok := made[n]
		switch {
		case ok:
			return t
		case n < len(p.inputs):
			t = df.ReadTable(j, p.format.from(j.Arg(n)), p.inputs[n].schema())
		default:
			var in []df.Table
			for _, k := range p.steps[n].in {
				in = append(in, table(k))
			}
			t = p.steps[n].build(in)
		}
		made[n] = t
		return t
	}
	return table(n)
}

// newPipeline makes the pipeline of a seed. What cannot be built is left out.
func newPipeline(t *testing.T, rng *rand.Rand, most int) *randomPipeline {
	p := &randomPipeline{format: formats[0]}
	for i := range 2 {
		in := randomTable(rng, string(rune('a'+i)), most)
		p.inputs = append(p.inputs, in)
		p.steps = append(p.steps, &plainStep{says: "input", out: in, loose: -1})
	}
	for tries := 0; len(p.steps) < 3+int(rng.Uint64()%6) && tries < 60; tries++ {
		at := len(p.steps) - 1
		if rng.IntN(4) == 0 {
			at = rng.IntN(len(p.steps))
		}
		if p.steps[at].loose >= 0 {
			continue
		}
		s, err := stepMaker{rng}.step(p.steps, at)
		if err != nil {
			continue
		}
		p.steps = append(p.steps, s)
		j := df.NewJob("probe", []string{"a", "b", "out"})
		p.build(len(p.steps) - 1)(j)
		if _, err := j.Graph(); err != nil {
			if *seed != 0 {
				t.Logf("cannot be built: %s: %v", s.says, err)
			}
			p.steps = p.steps[:len(p.steps)-1]
			continue
		}
		j = df.NewJob("probe", []string{"a", "b", "out"})
		s.out.fields = p.table(j, len(p.steps)-1).Schema().Fields()
		if len(s.out.fields) > 40 {
			p.steps = p.steps[:len(p.steps)-1]
		}
	}
	return p
}

// check compares a run's rows with the oracle's.
func (p *randomPipeline) check(rows [][]any) string {
	last := p.steps[len(p.steps)-1]
	var got, want []string
	for _, r := range rows {
		got = append(got, words(r))
	}
	for i, r := range last.out.rows {
		want = append(want, words(r))
		for c, v := range r {
			if v == nil && !last.out.fields[c].Nullable {
				return fmt.Sprintf("column %s is null in row %d and cannot be, by the schema", last.out.fields[c].Name, i)
			}
		}
	}
	for i := range len(rows) - 1 {
		if last.out.orders(rows[i], rows[i+1], last.order) > 0 {
			return fmt.Sprintf("row %d is out of order: %s, then %s", i, got[i], got[i+1])
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if last.loose >= 0 {
		if len(got) != last.loose {
			return fmt.Sprintf("%d rows, want %d", len(got), last.loose)
		}
		i := 0
		for _, w := range want {
			if i < len(got) && got[i] == w {
				i++
			}
		}
		if i < len(got) {
			return fmt.Sprintf("a row that is none of the input: %s", got[i])
		}
		return ""
	}
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("%d rows, want %d; sorted row %d is\n     %s\nwant %s", len(got), len(want), i, g, w)
		}
	}
	return ""
}

// Random pipelines of the columnar API over random tables, in files of any format, give
// the rows that loops over the rows give, at any number of partitions, in memory and
// spilling. go test . -run TestRandomPipelines -seed N repeats one and prints it; -seeds N
// -first K runs as many as one has time for.
func TestRandomPipelines(t *testing.T) {
	n := *seeds
	if n == 0 {
		n = uint64(race.Tries(30, 12, 3))
	}
	from := *first
	if *seed != 0 {
		from, n = *seed, 1
	}
	for k := from; k < from+n; k++ {
		t.Run(fmt.Sprint(k), func(t *testing.T) { runPipeline(t, k) })
	}
}

func runPipeline(t *testing.T, k uint64) {
	rng := rand.New(rand.NewPCG(k, 7))
	p := newPipeline(t, rng, 400)
	if *seed != 0 {
		t.Logf("\n%s", p)
	}
	dir := t.TempDir()
	args := []string{}
	for i, in := range p.inputs {
		args = append(args, filepath.Join(dir, fmt.Sprint("in", i)))
		in.write(t, rng, args[i])
	}
	if f := formats[rng.IntN(len(formats))]; f.name != "arrow" && f.holds(p.inputs[0]) && f.holds(p.inputs[1]) {
		for i, in := range p.inputs {
			other := filepath.Join(dir, fmt.Sprint(f.name, i))
			_, err := divisi.Run(t.Context(), func(j *df.Job) {
				df.WriteTable(df.ReadTable(j, df.FromArrow[df.Table](j.Arg(0)), in.schema()), f.to(j.Arg(1)))
			}, []string{args[i], other}, divisi.Parallelism(2), divisi.TempDir(dir))
			if err != nil {
				t.Fatalf("input %d to %s: %v\nrepeat with -run TestRandomPipelines -seed %d\n%s", i, f.name, err, k, p)
			}
			args[i] = other
		}
		p.format = f
	}
	for _, parts := range []int{1, 2, 7} {
		memory := []int64{64 << 10, 256 << 20}[rng.IntN(2)]
		out := filepath.Join(dir, fmt.Sprint("out", parts))
		run := func() error {
			_, err := divisi.Run(t.Context(), p.build(len(p.steps)-1), append(slices.Clone(args), out),
				divisi.Partitions(parts), divisi.Parallelism(2), divisi.TempDir(dir), divisi.Check(), divisi.Memory(memory))
			return err
		}
		err := run()
		for ; errors.Is(err, df.ErrOutOfMemory) && memory < 1<<20; err = run() {
			memory *= 2
		}
		if err != nil {
			t.Fatalf("with %d partitions and %d bytes: %v\nrepeat with -run TestRandomPipelines -seed %d\n%s", parts, memory, err, k, p)
		}
		if wrong := p.check(readArrow(t, out)); wrong != "" {
			t.Fatalf("with %d partitions and %d bytes: %s\nrepeat with -run TestRandomPipelines -seed %d\n%s", parts, memory, wrong, k, p)
		}
	}
}
