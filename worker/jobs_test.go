package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// build is all jobs of these tests, by name: what the task host's program runs.
func build(j *dataflow.Job) {
	switch j.Name() {
	case "wordcount":
		wordcount(j)
	case "sorted":
		numbers := dataflow.Read(j, dataflow.CustomSource[int64]("numbers", numbers{Splits: 5, Rows: 1000}))
		dataflow.Write(dataflow.Sort(numbers, func(n int64) int64 { return n }), dataflow.TSV[int64](j.Arg(0)))
	case "everything":
		everything(j)
	case "broadcast": // five tasks, each with the same 40 rows on the right
		pairs := func(n numbers) dataflow.Dataset[dataflow.Pair[int64, int64]] {
			return dataflow.Map(dataflow.Read(j, dataflow.CustomSource[int64]("numbers", n)), func(n int64) dataflow.Pair[int64, int64] { return dataflow.KV(n, n) })
		}
		both := dataflow.Join(pairs(numbers{Splits: 5, Rows: 30}), pairs(numbers{Splits: 2, Rows: 20}), dataflow.BroadcastRight())
		dataflow.Write(dataflow.Map(both, func(p dataflow.Pair[int64, dataflow.Joined[int64, int64]]) int64 { return p.Value.Right }), dataflow.TSV[int64](j.Arg(0)))
	case "splits", "none", "waits":
		of := map[string]numbers{"splits": {Splits: 2500, Rows: 1}, "none": {}, "waits": {Splits: 2, Wait: true}}[j.Name()]
		dataflow.Write(dataflow.Count(dataflow.Read(j, dataflow.CustomSource[int64]("numbers", of))), dataflow.TSV[dataflow.Pair[int64, int64]](j.Arg(0)))
	case "published":
		dataflow.Write(dataflow.Read(j, dataflow.CustomSource[int64]("numbers", numbers{Splits: 1, Rows: 1})), dataflow.CustomSink[int64]("counting", countingSink{j.Arg(0)}))
	case "shipped":
		lines := dataflow.Read(j, dataflow.Lines(j.Arg(0)))
		with := dataflow.MapTask(lines, func(t *dataflow.Task) func(string) string {
			path, err := t.File("words")
			if err != nil {
				t.Fail(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fail(err)
			}
			return func(line string) string { return line + string(b) }
		})
		dataflow.Write(with, dataflow.Text(j.Arg(1)))
	default:
		j.Errorf("no test has a job called %q", j.Name())
	}
}

// wordcount counts words, and does as it is told by some.
func wordcount(j *dataflow.Job) {
	lines := dataflow.Read(j, dataflow.Lines(j.Arg(0)))
	words := dataflow.FlatMap(lines, func(line string, emit dataflow.Emit[string]) {
		for w := range strings.FieldsSeq(line) {
			switch w {
			case "die!":
				os.Exit(3)
			case "kill!":
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			case "crash!":
				go func() { panic("in a goroutine of its own") }()
				select {}
			case "spawn!":
				c := exec.Command("sleep", "1000")
				if err := c.Start(); err != nil {
					panic(err)
				}
				os.WriteFile(j.Arg(0)+".pid", []byte(strconv.Itoa(c.Process.Pid)), 0o600)
				os.Exit(3)
			case "litter!": // as an attempt in the middle of its work
				for _, d := range []string{"../shuffle/0-0.3.data.tmp", "../spill/0-0.3/run"} {
					os.MkdirAll(filepath.Dir(d), 0o700)
					os.WriteFile(d, []byte("half a file"), 0o600)
				}
			case "panic!":
				panic("as asked")
			case "hang!":
				fmt.Println("hangs") // into the host's log
				select {}
			}
			emit(w)
		}
	})
	dataflow.Write(dataflow.Count(words), dataflow.TSV[dataflow.Pair[string, int64]](j.Arg(1)))
}

// everything has a side input, a cache with two readers, a join, and two sinks.
func everything(j *dataflow.Job) {
	numbers := dataflow.Read(j, dataflow.CustomSource[int64]("numbers", numbers{Splits: 4, Rows: 300}))
	few := dataflow.SideInput(dataflow.Filter(numbers, func(n int64) bool { return n < 3 }))
	pairs := dataflow.Cached(dataflow.MapTask(numbers, func(t *dataflow.Task) func(int64) dataflow.Pair[int64, int64] {
		sum, seen := int64(0), t.Counter("seen")
		for _, n := range few.Get(t) {
			sum += n
		}
		return func(n int64) dataflow.Pair[int64, int64] {
			seen.Inc()
			return dataflow.Pair[int64, int64]{Key: n % 10, Value: sum}
		}
	}, few))
	counts := dataflow.CountByKey(pairs)
	sums := dataflow.Sum(pairs)
	both := dataflow.Map(dataflow.Join(counts, sums), func(p dataflow.Pair[int64, dataflow.Joined[int64, int64]]) string {
		return fmt.Sprintf("%d: %d times, sum %d", p.Key, p.Value.Left, p.Value.Right)
	})
	dataflow.Write(both, dataflow.Text(j.Arg(0)))
	dataflow.Write(dataflow.Map(numbers, func(n int64) string { return fmt.Sprint(n) }), dataflow.Text(j.Arg(1)))
}

// numbers is a source of the numbers below Splits*Rows, each split every Splits-th of
// them in descending order; or one that waits until its attempt ends.
type numbers struct {
	Splits, Rows int
	Wait         bool
}

// numberSource is the source; its arguments are its value.
type numberSource struct{ numbers }

func init() {
	dataflow.RegisterSource(dataflow.SourceKind{Kind: "numbers", Summary: "for tests", Build: func(args []byte) (dataflow.Source, error) {
		var n numbers
		err := json.Unmarshal(args, &n)
		return numberSource{n}, err
	}})
}

var numbersSchema = arrow.NewSchema([]arrow.Field{{Name: "value", Type: arrow.PrimitiveTypes.Int64}}, nil)

func (s numberSource) Schema(context.Context) (*arrow.Schema, error) { return numbersSchema, nil }

func (s numberSource) Splits(context.Context, dataflow.SplitHint) ([]dataflow.Split, error) {
	var all []dataflow.Split
	for i := range s.numbers.Splits {
		all = append(all, dataflow.Split{ID: strconv.Itoa(i), Bytes: int64(s.Rows)})
	}
	return all, nil
}

func (s numberSource) Open(env *dataflow.Env, sp dataflow.Split) (dataflow.Stream, error) {
	first, err := strconv.Atoi(sp.ID)
	return &numberStream{env: env, n: s.numbers, at: s.Rows - 1, first: first}, err
}

// waiting counts the streams that wait, of task hosts in this process.
var waiting = make(chan struct{}, 100)

type numberStream struct {
	env       *dataflow.Env
	n         numbers
	at, first int
	closed    atomic.Bool
}

func (s *numberStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.n.Wait {
		waiting <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.at < 0 || s.closed.Load() {
		return nil, io.EOF
	}
	b := array.NewRecordBuilder(s.env.Alloc, numbersSchema)
	defer b.Release()
	for range min(97, s.at+1) {
		b.Field(0).(*array.Int64Builder).Append(int64(s.at*s.n.Splits + s.first))
		s.at--
	}
	return b.NewRecordBatch(), nil
}

func (s *numberStream) Close() error { s.closed.Store(true); return nil }
