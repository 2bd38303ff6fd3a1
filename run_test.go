package divisi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/divisitest"
	"github.com/divisi-data/divisi/internal/console"
)

// Whatever a run starts has ended when it returns.
func TestMain(m *testing.M) {
	if !clusterProcess() {
		goleak.VerifyTestMain(m)
	}
}

func wordcount(j *df.Job) {
	df.Write(df.Count(df.Words(df.Read(j, df.Lines(j.Arg(0))))), df.TSV[df.Pair[string, int64]](j.Arg(1)))
}

// counts is the oracle.
func counts(text string) map[string]string {
	n := map[string]int{}
	for _, w := range strings.Fields(text) {
		n[w]++
	}
	out := map[string]string{}
	for w, c := range n {
		out[w] = strconv.Itoa(c)
	}
	return out
}

func text(words int) string {
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.1, 1, 5000)
	var b strings.Builder
	for range words {
		fmt.Fprintf(&b, "w%d%s", z.Uint64(), []string{" ", "\n", "\t", "\u2003"}[r.IntN(4)])
	}
	return b.String()
}

func TestRun(t *testing.T) {
	for name, in := range map[string]string{
		"empty": "", "no words": "\n \n\t\n", "one": "a", "bytes": "\xff\xfe a\x00b \xff\xfe", "skewed": strings.Repeat("a ", 9999) + "b", "many": text(100_000),
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for _, line := range divisitest.Run(t, wordcount, in) {
				w, n, _ := strings.Cut(line, "\t")
				if _, twice := got[w]; twice {
					t.Errorf("%q comes twice", w)
				}
				got[w] = n
			}
			if !maps.Equal(got, counts(in)) {
				t.Errorf("got %d words, want %d", len(got), len(counts(in)))
			}
		})
	}
}

func writeText(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRunLeavesNothing(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	in, out := writeText(t, filepath.Join(dir, "in"), "a b a"), filepath.Join(dir, "out")
	var progress bytes.Buffer
	s, err := divisi.Run(t.Context(), wordcount, []string{in, out}, divisi.TempDir(tmp), divisi.Name("w"), divisi.Progress(&progress), divisi.Memory(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	if s.State != "succeeded" || s.RecordsIn != 1 || s.RecordsOut != 2 || s.BytesIn != 5 || !strings.HasPrefix(s.Job, "w-") {
		t.Errorf("summary %+v", s)
	}
	if !strings.Contains(progress.String(), "succeeded") {
		t.Errorf("progress %q", progress.String())
	}
	_, err = divisi.Run(t.Context(), wordcount, []string{in, out}, divisi.TempDir(tmp))
	if err == nil || !strings.Contains(err.Error(), df.ErrOutputExists.Error()) || console.Code(err) != console.JobFailed {
		t.Errorf("output exists: %v", err)
	}
	if _, err := divisi.Run(t.Context(), wordcount, []string{in, out}, divisi.TempDir(tmp), divisi.Mode(df.Append)); err != nil {
		t.Error(err)
	}
	if got, want := divisitest.Lines(t, out), []string{"a\t2", "a\t2", "b\t1", "b\t1"}; !slices.Equal(got, want) {
		t.Errorf("appended: %q", got)
	}
	for _, d := range []string{tmp, dir} {
		have, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range have {
			if e.Name() != "in" && e.Name() != "out" {
				t.Errorf("%s is left in %s", e.Name(), d)
			}
		}
	}
}

func TestRunIsCancelled(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	in, out := writeText(t, filepath.Join(dir, "in"), "a\nb\n"), filepath.Join(dir, "out")
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	s, err := divisi.Run(ctx, func(j *df.Job) {
		words := df.Map(df.Read(j, df.Lines(j.Arg(0))), func(w string) string {
			cancel()
			<-release
			return w
		})
		df.Write(words, df.Text(j.Arg(1)))
	}, []string{in, out}, divisi.TempDir(tmp), divisi.Progress(releaseAtCancel{release}))
	if console.Code(err) != console.Canceled || s.State != "canceled" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is an output: %v", err)
	}
}

// releaseAtCancel lets the job's function go on once the job is being cancelled: in
// process it cannot be killed.
type releaseAtCancel struct{ c chan struct{} }

func (r releaseAtCancel) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("canceled")) {
		select {
		case <-r.c:
		default:
			close(r.c)
		}
	}
	return len(p), nil
}

func TestRunRefusesWhatCannotBeBuilt(t *testing.T) {
	for name, c := range map[string]struct {
		build func(*df.Job)
		want  string
	}{
		"arguments": {wordcount, "argument 1 is missing"},
		"nothing":   {func(*df.Job) {}, "writes nothing"},
		"panic":     {func(*df.Job) { panic("oh") }, "building it panicked: oh"},
		"error":     {func(j *df.Job) { j.Errorf("no %s", "way"); wordcount(j) }, "no way"},
	} {
		_, err := divisi.Run(t.Context(), c.build, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || console.Code(err) != console.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The engine's own temporary names do not show, and flags of the job reach it.
func ExampleRun() {
	dir, _ := os.MkdirTemp("", "example-")
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	os.WriteFile(in, []byte("to be or not\nto be\n"), 0o644)

	s, err := divisi.Run(context.Background(), wordcount, []string{in, out})
	fmt.Println(s.State, s.RecordsOut, err)
	// Output: succeeded 4 <nil>
}
