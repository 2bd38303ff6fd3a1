package divisitest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	df "github.com/divisi-data/divisi/dataflow"
)

func count(j *df.Job) {
	args := j.Args()
	lines := df.Read(j, df.Lines(args[:len(args)-1]...))
	df.Write(df.Count(df.Words(lines)), df.TSV[df.Pair[string, int64]](args[len(args)-1]))
}

func TestRunGivesSortedLines(t *testing.T) {
	got := Run(t, count, "b a b\n", "", "c")
	if want := []string{"a\t1", "b\t2", "c\t1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	swapped := RunArgs(t, count, func(in []string, out string) []string { return []string{in[1], out} }, "x", "y")
	if want := []string{"y\t1"}; !slices.Equal(swapped, want) {
		t.Errorf("got %q, want %q", swapped, want)
	}
}

// recorder is a test that is expected to fail.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper() {}
func (r *recorder) Fatalf(format string, a ...any) {
	r.failed = fmt.Sprintf(format, a...)
	runtime.Goexit()
}

func fails(t *testing.T, f func(tb testing.TB)) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.failed
}

func TestRunSeesAResultThatDependsOnPartitions(t *testing.T) {
	runs := 0
	text := fails(t, func(tb testing.TB) {
		Run(tb, func(j *df.Job) { // called once to plan and once in the task host, each run
			runs++
			mark := fmt.Sprint(runs > 2)
			words := df.Words(df.Read(j, df.Lines(j.Arg(0))))
			df.Write(df.Map(words, func(w string) string { return w + mark }), df.Text(j.Arg(1)))
		}, "a")
	})
	if !strings.Contains(text, "depends on the number of partitions") || !strings.Contains(text, `"afalse" with 1, "atrue" with 2`) {
		t.Errorf("failed with %q", text)
	}
}

func TestRunFailsWithTheJob(t *testing.T) {
	if text := fails(t, func(tb testing.TB) { Run(tb, func(*df.Job) {}) }); !strings.Contains(text, "writes nothing") {
		t.Errorf("failed with %q", text)
	}
	if text := fails(t, func(tb testing.TB) { Lines(tb, t.TempDir()) }); !strings.Contains(text, "not complete") {
		t.Errorf("failed with %q", text)
	}
}
