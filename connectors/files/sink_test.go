package files_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/text"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/faulty"
	_ "github.com/divisi-data/divisi/storage/local"
	"github.com/divisi-data/divisi/storage/mem"
)

func lines(s ...string) arrow.RecordBatch {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.AppendValues(s, nil)
	return array.NewRecordBatch(text.Schema, []arrow.Array{b.NewArray()}, int64(len(s)))
}

// tree lists all files and folders below a folder, hidden ones too.
func tree(t *testing.T, dir string, visible bool) []string {
	var names []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		if visible && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		names = append(names, strings.TrimPrefix(p, dir))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func mustSink(t testing.TB, a files.SinkArgs) dataflow.Sink {
	t.Helper()
	raw, _ := json.Marshal(a)
	s, err := dataflow.NewSink(files.Kind, raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSource(t testing.TB, a files.SourceArgs) dataflow.Source {
	t.Helper()
	raw, _ := json.Marshal(a)
	s, err := dataflow.NewSource(files.Kind, raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConnector(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "zstd", "snappy"} {
		t.Run(compression, func(t *testing.T) {
			connectortest.Run(t, connectortest.Connector{
				New: func(t *testing.T) connectortest.Place {
					dir := t.TempDir()
					return connectortest.Place{
						Sink:    mustSink(t, files.SinkArgs{Path: filepath.Join(dir, "deep", "out"), Format: "text", Options: json.RawMessage(`{"compression":"` + compression + `"}`)}),
						Source:  mustSource(t, files.SourceArgs{Paths: []string{filepath.Join(dir, "deep", "out")}, Format: "text"}),
						Visible: func() []string { return tree(t, dir, true) },
						Left:    func() []string { return tree(t, dir, false) },
					}
				},
				Batches: []arrow.RecordBatch{lines("a", "b", "", "long "+strings.Repeat("x", 100)), lines("c"), lines("a", "d")},
				Modes:   true,
			})
		})
	}
}

func TestNamesOfParts(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	run := func(job string, mode dataflow.Mode, parts ...int) {
		s := mustSink(t, files.SinkArgs{Path: out, Format: "text", Options: json.RawMessage(`{"compression":"gzip"}`)})
		c := dataflow.Commit{Job: job, Mode: mode}
		c.Prepared = must(s.Prepare(t.Context(), c))
		var won []dataflow.Receipt
		for _, n := range parts {
			won = append(won, seal(t, s, c, n, lines(job)))
		}
		check(t, s.Publish(t.Context(), c, won))
		check(t, s.Clean(t.Context(), c))
	}
	run("a", dataflow.Fail, 0, 2)
	run("b", dataflow.Append, 0, 1)
	want := []string{"/out", "/out/_SUCCESS", "/out/part-00000.gz", "/out/part-00002.gz", "/out/part-00003.gz", "/out/part-00004.gz"}
	if got := tree(t, dir, false); !slices.Equal(got, want) {
		t.Errorf("files are %v, want %v", got, want)
	}
	if fi, err := os.Stat(filepath.Join(out, "_SUCCESS")); err != nil || fi.Size() != 0 {
		t.Errorf("_SUCCESS: %v, %v, want an empty file", fi, err)
	}
	run("c", dataflow.Replace, 1)
	if got, want := tree(t, dir, false), []string{"/out", "/out/_SUCCESS", "/out/part-00001.gz"}; !slices.Equal(got, want) {
		t.Errorf("files are %v, want %v", got, want)
	}
}

// The saboteur stands behind a scheme of its own; the hook is set per test.
var sabotage struct {
	sync.Mutex
	fs storage.Filesystem
}

func init() {
	storage.Register(storage.Driver{
		Scheme: "faulty", Summary: "for tests",
		Open: func(_ context.Context, uri string) (storage.Filesystem, string, error) {
			sabotage.Lock()
			defer sabotage.Unlock()
			return sabotage.fs, strings.TrimPrefix(uri, "faulty:///"), nil
		},
		URI: func(_, name string) string { return "faulty:///" + name },
	})
}

func use(fs storage.Filesystem) { sabotage.Lock(); sabotage.fs = fs; sabotage.Unlock() }

var errCrash = errors.New("crash")

// crashAt lets n operations happen and fails all that follow, as if the process
// had died: the one it dies in happens first if after is set.
func crashAt(n int, after bool) (faulty.Hook, *int) {
	var mu sync.Mutex
	seen := new(int)
	return func(faulty.Op) error {
		mu.Lock()
		defer mu.Unlock()
		*seen++
		switch {
		case *seen == n && after:
			return faulty.After{Err: errCrash}
		case *seen >= n:
			return errCrash
		}
		return nil
	}, seen
}

func TestCrashAtEveryStep(t *testing.T) {
	for _, mode := range []dataflow.Mode{dataflow.Fail, dataflow.Append, dataflow.Replace} {
		for _, dies := range []string{"publish", "publish then clean", "clean", "clean unpublished"} {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/after=%v", mode, dies, after), func(t *testing.T) {
					for n := 1; ; n++ {
						if n > 200 {
							t.Fatal("it never ends without a crash")
						}
						if crashOnce(t, 0, mode, dies, n, after) {
							if n < 3 {
								t.Fatal("nothing was tried")
							}
							break
						}
					}
				})
			}
		}
	}
}

// The same of parts that have several files.
func TestCrashWithSeveralFiles(t *testing.T) {
	for _, mode := range []dataflow.Mode{dataflow.Append, dataflow.Replace} {
		for _, dies := range []string{"publish", "publish then clean"} {
			for n := 1; !crashOnce(t, 1, mode, dies, n, n%2 > 0); n++ {
				if n > 200 {
					t.Fatal("it never ends without a crash")
				}
			}
		}
	}
}

// crashOnce crashes in operation n and starts again; it reports whether the end
// was reached before that. With a target size the new job writes both files as one part.
func crashOnce(t *testing.T, target int64, mode dataflow.Mode, dies string, n int, after bool) (ended bool) {
	inner := mem.New()
	use(inner)
	old := lines("old")
	s := mustSink(t, files.SinkArgs{Path: "faulty:///out", Format: "text", TargetBytes: target})
	if mode != dataflow.Fail {
		c := dataflow.Commit{Job: "old", Mode: mode}
		c.Prepared = must(s.Prepare(t.Context(), c))
		check(t, s.Publish(t.Context(), c, []dataflow.Receipt{seal(t, s, c, 0, old), seal(t, s, c, 4, old)}))
		check(t, s.Clean(t.Context(), c))
	}
	before := names(t, inner)
	c := dataflow.Commit{Job: "new", Mode: mode}
	c.Prepared = must(s.Prepare(t.Context(), c))
	won := []dataflow.Receipt{seal(t, s, c, 0, lines("a")), seal(t, s, c, 1, lines("b")), seal(t, s, c, 2)}
	if target > 0 {
		won = []dataflow.Receipt{seal(t, s, c, 0, lines("a"), lines("b")), seal(t, s, c, 1)}
	}
	seal(t, s, c, 1, lines("lost"))
	if dies == "clean" {
		check(t, s.Publish(t.Context(), c, won))
	}

	hook, _ := crashAt(n, after)
	use(faulty.Wrap(inner, hook))
	var err error
	if strings.HasPrefix(dies, "publish") {
		err = s.Publish(t.Context(), c, won)
	} else {
		err = s.Clean(t.Context(), c)
	}
	use(inner)
	if err != nil && !errors.Is(err, errCrash) {
		t.Fatalf("crash in operation %d: %v", n, err)
	}
	what := fmt.Sprintf("crash in operation %d", n)
	if dies == "publish" {
		if err := s.Publish(t.Context(), c, won); err != nil {
			t.Fatalf("%s: publish again: %v", what, err)
		}
	}
	check(t, s.Clean(t.Context(), c))

	whole := []string{"out/_SUCCESS", "out/part-00000", "out/part-00001"}
	rows := []string{`"a" `, `"b" `}
	if mode == dataflow.Append {
		whole = []string{"out/_SUCCESS", "out/part-00000", "out/part-00004", "out/part-00005", "out/part-00006"}
		rows = []string{`"a" `, `"b" `, `"old" `, `"old" `}
	}
	if target > 0 {
		whole = []string{"out/_SUCCESS", "out/part-00000-00000", "out/part-00000-00001"}
		if mode == dataflow.Append {
			whole = []string{"out/_SUCCESS", "out/part-00000-00000", "out/part-00004-00000", "out/part-00005-00000", "out/part-00005-00001"}
		}
	}
	got := names(t, inner)
	absent := slices.Equal(got, before)
	switch {
	case dies == "clean unpublished" && absent, dies == "publish then clean" && absent:
	case dies != "clean unpublished" && slices.Equal(got, whole):
		src := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///out"}, Format: "text"})
		if got := connectortest.Read(t, src, dataflow.SplitHint{}); !slices.Equal(got, rows) {
			t.Fatalf("%s: rows are %v, want %v", what, got, rows)
		}
	default:
		t.Fatalf("%s: files are %v, want %v or as before %v", what, got, whole, before)
	}
	// Nothing unseen is left either: there is nothing for the old owner to sweep.
	for _, r := range won {
		var p struct{ Sealed *storage.Sealed }
		check(t, json.Unmarshal(r.Payload, &p))
		if absent && p.Sealed != nil {
			if err := inner.Publish(t.Context(), *p.Sealed); err == nil && mode != dataflow.Replace {
				t.Fatalf("%s: the attempt of %s was not swept", what, p.Sealed.Name)
			}
		}
	}
	return err == nil
}

// A job whose sealed part is gone is taken back whole.
func TestCleanTakesBackHalfAnOutput(t *testing.T) {
	inner := mem.New()
	use(inner)
	s := mustSink(t, files.SinkArgs{Path: "faulty:///out", Format: "text"})
	c := dataflow.Commit{Job: "j", Mode: dataflow.Fail}
	c.Prepared = must(s.Prepare(t.Context(), c))
	won := []dataflow.Receipt{seal(t, s, c, 0, lines("a")), seal(t, s, c, 1, lines("b"))}
	var p struct{ Sealed storage.Sealed }
	check(t, json.Unmarshal(won[1].Payload, &p))
	check(t, inner.Discard(t.Context(), p.Sealed))
	if err := s.Publish(t.Context(), c, won); !errors.Is(err, storage.ErrGone) || dataflow.KindOf(err) != dataflow.Fatal || !strings.Contains(err.Error(), "run the job again") {
		t.Fatalf("publish: %v (%v), want that a part is gone, and for good", err, dataflow.KindOf(err))
	}
	check(t, s.Clean(t.Context(), c))
	if left := names(t, inner); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// A part is not missed that another process has published to the end, and another job
// has replaced since.
func TestPublishFindsItselfOvertaken(t *testing.T) {
	inner := mem.New()
	use(inner)
	s := mustSink(t, files.SinkArgs{Path: "faulty:///out", Format: "text"})
	begin := func(job, row string) (dataflow.Commit, []dataflow.Receipt) {
		c := dataflow.Commit{Job: job, Mode: dataflow.Replace}
		c.Prepared = must(s.Prepare(t.Context(), c))
		return c, []dataflow.Receipt{seal(t, s, c, 0, lines(row))}
	}
	c, won := begin("j", "a")
	overtaken := false
	use(faulty.Wrap(inner, func(op faulty.Op) error {
		if op.Kind != faulty.Publish || overtaken {
			return nil
		}
		overtaken = true
		use(inner)
		check(t, s.Publish(t.Context(), c, won))
		later, wonLater := begin("later", "b")
		check(t, s.Publish(t.Context(), later, wonLater))
		return nil
	}))
	check(t, s.Publish(t.Context(), c, won))
	if !overtaken {
		t.Fatal("nobody overtook it")
	}
	f := must(inner.Open(t.Context(), "out/part-00000"))
	defer f.Close()
	got := make([]byte, f.Size())
	if _, err := f.ReadAt(got, 0); err != nil && err != io.EOF || string(got) != "b\n" {
		t.Errorf("the output holds %q, %v, want that of the later job", got, err)
	}
}

// Of many jobs and processes that publish at once, one job wins.
func TestRace(t *testing.T) {
	for range 30 {
		inner := mem.New()
		use(inner)
		s := mustSink(t, files.SinkArgs{Path: "faulty:///out", Format: "text"})
		var wg sync.WaitGroup
		errs := make([]error, 8)
		commits := make([]dataflow.Commit, 4)
		wons := make([][]dataflow.Receipt, 4)
		for j := range commits {
			commits[j] = dataflow.Commit{Job: fmt.Sprint("job", j), Mode: dataflow.Fail}
			commits[j].Prepared = must(s.Prepare(t.Context(), commits[j]))
			wons[j] = []dataflow.Receipt{seal(t, s, commits[j], 0, lines(commits[j].Job)), seal(t, s, commits[j], 1, lines(commits[j].Job))}
		}
		for i := range errs {
			wg.Go(func() { errs[i] = s.Publish(context.Background(), commits[i/2], wons[i/2]) })
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0 && winner != i/2:
				t.Fatalf("jobs %d and %d both won", winner, i/2)
			case err == nil:
				winner = i / 2
			case !errors.Is(err, dataflow.ErrOutputExists):
				t.Fatal(err)
			}
		}
		for _, c := range commits {
			check(t, s.Clean(t.Context(), c))
		}
		if winner < 0 {
			t.Fatalf("nobody won: %v", errs)
		}
		src := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///out"}, Format: "text"})
		row := fmt.Sprintf("%q ", commits[winner].Job)
		if got := connectortest.Read(t, src, dataflow.SplitHint{}); !slices.Equal(got, []string{row, row}) {
			t.Fatalf("rows are %v, want those of job %d", got, winner)
		}
	}
}

func seal(t testing.TB, s dataflow.Sink, c dataflow.Commit, part int, batches ...arrow.RecordBatch) dataflow.Receipt {
	t.Helper()
	env := dataflow.NewEnv(t.Context())
	env.Task = dataflow.TaskID{Job: c.Job, Index: part}
	env.Output = dataflow.Output{Commit: c, Part: part}
	w := must(s.Open(env))
	for _, b := range batches {
		check(t, w.Write(t.Context(), b))
	}
	return must(w.Seal(t.Context()))
}

func names(t testing.TB, fs storage.Filesystem) []string {
	t.Helper()
	var all []string
	for info, err := range fs.List(t.Context(), "") {
		check(t, err)
		all = append(all, info.Name)
	}
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
