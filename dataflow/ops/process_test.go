//go:build unix

package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

func sh(script string) []string { return []string{"sh", "-c", script} }

func processOf(t *testing.T, a args) dataflow.Operator {
	t.Helper()
	return op(t, "process", a)
}

func stringsOf(mem memory.Allocator, cols ...[]string) dataflow.Batch {
	var fields []arrow.Field
	for i := range cols {
		fields = append(fields, arrow.Field{Name: fmt.Sprint("c", i), Type: arrow.BinaryTypes.String})
	}
	b := array.NewRecordBuilder(mem, arrow.NewSchema(fields, nil))
	defer b.Release()
	for i, c := range cols {
		b.Field(i).(*array.StringBuilder).AppendValues(c, nil)
	}
	return b.NewRecordBatch()
}

// scripted is an environment of which a test can look at what it was told.
type scripted struct {
	*dataflow.Env
	log strings.Builder
	mem *memory.CheckedAllocator
	tmp string
}

func newScripted(t *testing.T) *scripted {
	e := &scripted{Env: dataflow.NewEnv(t.Context()), mem: memory.NewCheckedAllocator(memory.DefaultAllocator), tmp: t.TempDir()}
	e.Alloc, e.Temp = e.mem, dataflow.DirTemp(e.tmp)
	e.Log = slog.New(slog.NewTextHandler(&e.log, nil))
	t.Cleanup(func() {
		e.mem.AssertSize(t, 0)
		if n := e.Memory.Used(); n != 0 {
			t.Errorf("%d bytes are still reserved", n)
		}
		if left, _ := os.ReadDir(e.tmp); len(left) > 0 {
			t.Errorf("temporary files remain: %v", left)
		}
	})
	return e
}

// through runs lines through a program and returns what it prints.
func (e *scripted) through(t *testing.T, a args, lines ...string) ([]string, error) {
	t.Helper()
	if a["columns"] == nil {
		a["columns"] = []int{0}
	}
	in := stringsOf(e.mem, lines)
	defer in.Release()
	return e.drain(t, processOf(t, a), opstest.Slice(e.mem, in, 3))
}

func (e *scripted) drain(t *testing.T, op dataflow.Operator, in dataflow.Stream) (got []string, err error) {
	t.Helper()
	s, err := op.Open(e.Env, in)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		b, err := s.Next(e.Context)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		col := b.Column(0).(*array.String)
		for i := range col.Len() {
			got = append(got, strings.Clone(col.Value(i)))
		}
		b.Release()
	}
}

func TestProcessAsOperator(t *testing.T) {
	keys := []string{"a", "", "b\xff", "long" + strings.Repeat("x", 5000), "e\r"}
	values := []string{"\t1", "", "\t\xfe2", "\t3", ""}
	for i := range 60 {
		keys, values = append(keys, fmt.Sprint("k", i)), append(values, fmt.Sprint("\t", i))
	}
	var want []string
	for i, k := range keys {
		want = append(want, fmt.Sprintf("%q|", k+values[i]))
	}
	in := stringsOf(memory.DefaultAllocator, values, keys)
	op := processOf(t, args{"command": []string{"cat"}, "columns": []int{1, 0}})
	opstest.Run(t, op, []dataflow.Batch{in}, want)
	// The operator waits for all of its input before the program prints anything.
	slices.Sort(want)
	opstest.Run(t, processOf(t, args{"command": []string{"env", "LC_ALL=C", "sort"}, "columns": []int{1, 0}}), []dataflow.Batch{in}, want, opstest.Unordered())
	opstest.Run(t, op, []dataflow.Batch{stringsOf(memory.DefaultAllocator, nil, nil)}, nil)
}

func TestProcessPrints(t *testing.T) {
	long := strings.Repeat("y", 700<<10)
	many := make([]string, 20000)
	for i := range many {
		many[i] = fmt.Sprintf("line %d of many", i)
	}
	for _, c := range []struct {
		name, script string
		in, want     []string
	}{
		{"nothing for nothing", "cat", nil, nil},
		{"something for nothing", "wc -l | tr -d ' '", nil, []string{"0"}},
		{"nothing for something", "cat >/dev/null", []string{"a"}, nil},
		{"a last line without its end", "printf 'a\\n\\nb'; cat >/dev/null", []string{"x"}, []string{"a", "", "b"}},
		{"without reading", "echo a; exit 0", many, []string{"a"}},
		{"a long line", "cat", []string{"a", long, "b"}, []string{"a", long, "b"}},
		{"what a child prints later", "(cat; echo late) <&3 &", many[:10], append(slices.Clone(many[:10]), "late")},
		{"much", "cat", many, many},
		{"after its output is closed", "exec 1>&-; cat >/dev/null", many, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := c.script
			if strings.Contains(script, "<&3") {
				script = "exec 3<&0; " + script
			}
			got, err := newScripted(t).through(t, args{"command": sh(script)}, c.in...)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%d lines, %v; want %d", len(got), err, len(c.want))
			}
		})
	}
}

func TestProcessReports(t *testing.T) {
	e := newScripted(t)
	got, err := e.through(t, args{"command": sh(`
while read x; do
	echo "reporter:counter:Words,of length ${#x},2" >&2
done
echo "reporter:counter:G,a,b,-3" >&2
echo "reporter:counter:bad" >&2
echo "reporter:counter:G,n,many" >&2
echo "reporter:status:nearly there" >&2
printf 'a word' >&2`)}, "a", "bb", "cc")
	if err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
	want := map[string]int64{"Words.of length 1": 2, "Words.of length 2": 4, "G.a,b": -3}
	if have := e.Counters.Values(); !maps.Equal(have, want) {
		t.Errorf("counters %v, want %v", have, want)
	}
	for _, text := range []string{`msg=status text="nearly there"`, `msg=stderr text="a word"`, `reporter:counter:bad`, `reporter:counter:G,n,many`} {
		if !strings.Contains(e.log.String(), text) {
			t.Errorf("the log lacks %s:\n%s", text, &e.log)
		}
	}
}

func TestProcessFails(t *testing.T) {
	for _, c := range []struct {
		name string
		a    args
		kind dataflow.Kind
		text string
	}{
		{"status", args{"command": sh("cat; echo first >&2; echo 'disk on fire' >&2; exit 3")}, dataflow.Transient, "exit status 3; the last it said on standard error:\nfirst\ndisk on fire"},
		{"after its output is closed", args{"command": sh("exec 1>&-; cat >/dev/null; exit 4")}, dataflow.Transient, "exit status 4, and said nothing"},
		{"without reading", args{"command": sh("exit 5")}, dataflow.Transient, "exit status 5"},
		{"signal", args{"command": sh("kill -9 $$")}, dataflow.Transient, "signal: killed"},
		{"last lines only", args{"command": sh("seq 1 100 >&2; exit 1")}, dataflow.Transient, "standard error:\n81\n82\n"},
		{"no such program", args{"command": []string{"no-such-program-anywhere"}}, dataflow.User, "no-such-program-anywhere"},
		{"no such path", args{"command": []string{"./no-such"}}, dataflow.User, "no such file"},
		{"no such file", args{"command": sh("cat"), "files": []string{"x"}}, dataflow.User, "no files were shipped"},
		{"too long", args{"command": sh("cat; head -c 70000 /dev/zero"), "max_line_bytes": 66000}, dataflow.User, "a line of more than 66000 bytes"},
		{"too many counters", args{"command": sh("for i in `seq 1 1001`; do echo reporter:counter:g,$i,1 >&2; done; sleep 1000")}, dataflow.User, "more than 1000 counters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newScripted(t).through(t, c.a, "a", "b", "c", "d", "e", "f", "g")
			if dataflow.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v (%s), want %q (%s)", err, dataflow.KindOf(err), c.text, c.kind)
			}
		})
	}
	got, err := newScripted(t).through(t, args{"command": sh("cat; exit 3"), "any_exit": true}, "a")
	if err != nil || !slices.Equal(got, []string{"a"}) {
		t.Errorf("any exit: %q, %v", got, err)
	}
}

func TestProcessRefuses(t *testing.T) {
	for _, raw := range []string{
		`{}`, `{"command":[""],"columns":[0]}`, `{"command":["cat"],"columns":[0],"phase":"shuffle"}`, `{"command":["cat"],"columns":[0],"files":["a/b"]}`,
		`{"command":["cat"],"columns":[0],"files":[".."]}`, `{"command":["cat"],"columns":[0],"env":["=x"]}`, `{"command":["cat"],"columns":[0],"max_line_bytes":-1}`,
		`{"command":["cat"],"columns":[0],"cut":{}}`, `{"command":["cat"],"columns":[0],"more":1}`,
	} {
		if _, err := dataflow.NewOperator("process", []byte(raw)); dataflow.KindOf(err) != dataflow.User {
			t.Errorf("%s: %v", raw, err)
		}
	}
	numbers := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	for _, a := range []args{{"command": sh("cat"), "columns": []int{0}}, {"command": sh("cat"), "columns": []int{1}}, {"command": sh("cat")}} {
		if _, err := processOf(t, a).Schema(numbers); dataflow.KindOf(err) != dataflow.User {
			t.Errorf("%v of numbers: %v", a, err)
		}
	}
}

// TestProcessIsKilled: a program that neither reads nor listens to SIGTERM, and its
// child, are gone when the stream is closed.
func TestProcessIsKilled(t *testing.T) {
	for _, how := range []string{"closed", "cancelled"} {
		t.Run(how, func(t *testing.T) {
			e := newScripted(t)
			in := stringsOf(e.mem, make([]string, 100000))
			defer in.Release()
			op := processOf(t, args{"command": sh(`trap "" TERM; sleep 1000 >/dev/null & printf '%s\n' $$ $!; exec 1>&-; wait`), "columns": []int{0}})
			s, err := op.Open(e.Env, opstest.Slice(e.mem, in, 1000))
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			pids := b.Column(0).(*array.String)
			if how == "cancelled" {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled: %v", err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if pids.Len() != 2 {
				t.Fatalf("%d processes, want 2", pids.Len())
			}
			for i := range 2 {
				pid, err := strconv.Atoi(pids.Value(i))
				if err != nil {
					t.Fatal(err)
				}
				// Close waits for the program; what that started dies in its own time.
				for end := time.Now().Add(20 * time.Second); alive(pid); {
					if time.Now().After(end) {
						t.Errorf("process %d of the group lives on", i)
						break
					}
				}
			}
			b.Release()
		})
	}
}

// alive says whether a process runs; one that is dead and not yet waited for by the
// machine's first process does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// TestProcessSurroundings: shipped files lie in a folder of the program's own, and its
// environment says what it was given and where it is.
func TestProcessSurroundings(t *testing.T) {
	e := newScripted(t)
	ship := t.TempDir()
	for name, text := range map[string]string{"tool": "#!/bin/sh\necho tool $1; cat side; pwd; touch litter; cat\n", "side": "of the side\n"} {
		if err := os.WriteFile(filepath.Join(ship, name), []byte(text), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	e.File = func(name string) (string, error) { return filepath.Join(ship, name), nil }
	for _, name := range []string{"tool", "./tool"} {
		got, err := e.through(t, args{"command": []string{name, "a b"}, "files": []string{"tool", "side"}}, "x")
		if err != nil || len(got) != 4 || got[0] != "tool a b" || got[1] != "of the side" || filepath.Dir(got[2]) != e.tmp || got[3] != "x" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	e.Task = dataflow.TaskID{Job: "count-7", Stage: 2, Index: 3, Attempt: 4}
	got, err := e.through(t, args{"command": sh(`echo $mapreduce_job_id $mapreduce_task_id $mapreduce_task_attempt_id $mapreduce_task_partition $mapreduce_task_ismap $mapred_task_id $A; test "$PWD" = "$(pwd)"`),
		"env": []string{"A=1", "A=a b"}, "phase": "reduce"})
	if want := "count-7 task_count-7_r_000003 attempt_count-7_r_000003_4 3 false attempt_count-7_r_000003_4 a b"; err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// files is rows that come from files, one batch each.
type fileRows struct {
	dataflow.Stream
	places []string
	at     int
}

func (f *fileRows) Next(ctx context.Context) (dataflow.Batch, error) {
	f.at++
	return f.Stream.Next(ctx)
}

func (f *fileRows) Locate(int) string { return f.places[f.at-1] }

func TestProcessPerFile(t *testing.T) {
	rows := []string{"a", "b", "c", "d", "e"}
	places := []string{"/in/x:0", "/in/x:20", "/in/y:40", "topic[3]@42", "topic[3]@43"}
	for _, c := range []struct {
		script string
		per    bool
		want   []string
	}{
		{`echo "$map_input_file $mapreduce_map_input_start"; cat`, true, []string{"/in/x 0", "a", "b", "/in/y 40", "c", " ", "d", "e"}},
		{`echo "$map_input_file"; cat`, false, []string{"/in/x", "a", "b", "c", "d", "e"}},
		{`head -n 1; exec 0<&-`, true, []string{"a", "c", "d"}},
		{`exit 0`, true, nil},
	} {
		e := newScripted(t)
		in := stringsOf(e.mem, rows)
		got, err := e.drain(t, processOf(t, args{"command": sh(c.script), "columns": []int{0}, "phase": "map", "per_file": c.per}),
			&fileRows{Stream: opstest.Slice(e.mem, in, 1), places: places})
		in.Release()
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", c.script, got, err, c.want)
		}
	}
}

func TestProcessCut(t *testing.T) {
	got, err := newScripted(t).through(t, args{"command": sh("cat"), "cut": args{"at": "::", "with": "\t"}}, "a::b::c", "d", "")
	if want := []string{"a\tb::c", "d\t", "\t"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func BenchmarkProcessCat(b *testing.B) {
	lines := make([]string, 1<<16)
	size := 0
	for i := range lines {
		lines[i] = fmt.Sprintf("a line with its number %d and some words", i)
		size += len(lines[i]) + 1
	}
	in := stringsOf(memory.DefaultAllocator, lines)
	op, err := dataflow.NewOperator("process", []byte(`{"command":["cat"],"columns":[0]}`))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size) * 16)
	for b.Loop() {
		env := dataflow.NewEnv(b.Context())
		env.Temp = dataflow.DirTemp(b.TempDir())
		s, err := op.Open(env, &again{in, 16})
		if err != nil {
			b.Fatal(err)
		}
		rows := int64(0)
		for {
			out, err := s.Next(b.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			rows += out.NumRows()
			out.Release()
		}
		if s.Close() != nil || rows != 16<<16 {
			b.Fatalf("%d rows", rows)
		}
	}
}

// again gives a batch several times.
type again struct {
	b dataflow.Batch
	n int
}

func (a *again) Next(context.Context) (dataflow.Batch, error) {
	if a.n == 0 {
		return nil, io.EOF
	}
	a.n--
	a.b.Retain()
	return a.b, nil
}

func (*again) Close() error { return nil }
