package files_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/faulty"
	"github.com/divisi-data/divisi/storage/mem"
)

// What a job left that died anywhere in its life is found with the job's name, and
// goes without a trace of what others have.
func TestLeftovers(t *testing.T) {
	for _, root := range []string{"faulty:///top", filepath.Join(t.TempDir(), "top")} {
		inner := mem.New()
		use(inner)
		begun := time.Now().Add(-time.Minute)
		job := func(name, out string) (dataflow.Sink, dataflow.Commit, []dataflow.Receipt) {
			s := mustSink(t, files.SinkArgs{Path: root + "/" + out, Format: "text"})
			c := dataflow.Commit{Job: name}
			c.Prepared = must(s.Prepare(t.Context(), c))
			return s, c, []dataflow.Receipt{seal(t, s, c, 0, lines(name)), seal(t, s, c, 1, lines("long "+name))}
		}
		publishes := func(name, out string, most int) {
			s, c, won := job(name, out)
			if !strings.HasPrefix(root, "faulty:") {
				return
			}
			hook, _ := crashAt(most, false)
			use(faulty.Wrap(inner, hook))
			if s.Publish(t.Context(), c, won) == nil {
				t.Fatal("there was no crash")
			}
			use(inner)
		}
		job("attempts", "a/out")
		job("attempts", "b/out")
		job("living", "a/out")
		s, c, won := job("done", "c/out")
		check(t, s.Publish(t.Context(), c, won))
		check(t, s.Clean(t.Context(), c))
		crashed := strings.HasPrefix(root, "faulty:")
		publishes("deciding", "d/out", 4) // has its turn
		publishes("publishing", "e/out", 9)

		left := must(files.FindLeftovers(t.Context(), root))
		got := map[string]files.Leftovers{}
		var jobs []string
		for _, l := range left {
			got[l.Job] = l
			jobs = append(jobs, l.Job)
			if l.Changed.Before(begun) || l.Changed.After(time.Now().Add(time.Minute)) {
				t.Errorf("%s: changed at %v", l.Job, l.Changed)
			}
		}
		if want := []string{"attempts", "deciding", "living", "publishing"}; !slices.Equal(jobs, want) {
			t.Fatalf("%s: leftovers of %v, want %v", root, jobs, want)
		}
		if l := got["attempts"]; l.Attempts != 4 || l.Bytes != int64(2*len("attempts\nlong attempts\n")) || len(l.Commits) != 0 {
			t.Errorf("%s: %+v", root, l)
		}
		if crashed && (len(got["deciding"].Commits) != 1 || len(got["publishing"].Commits) != 1 || !strings.HasSuffix(got["publishing"].Commits[0], "e/out")) {
			t.Errorf("%s: %+v", root, left)
		}
		if below := must(files.FindLeftovers(t.Context(), root+"/a")); len(below) != 2 || below[0].Attempts != 2 {
			t.Errorf("%s: below a: %+v", root, below)
		}
		for name, l := range got {
			if name != "living" {
				check(t, files.RemoveLeftovers(t.Context(), root, l))
				check(t, files.RemoveLeftovers(t.Context(), root, l)) // again: nothing
			}
		}
		left = must(files.FindLeftovers(t.Context(), root))
		if len(left) != 1 || left[0].Job != "living" || left[0].Attempts != 2 {
			t.Errorf("%s: still left: %+v", root, left)
		}
		var visible []string
		fs, name, err := storage.Resolve(t.Context(), root)
		check(t, err)
		for info, err := range fs.List(t.Context(), name) {
			check(t, err)
			visible = append(visible, strings.TrimPrefix(info.Name, name+"/"))
		}
		want := []string{"c/out/_SUCCESS", "c/out/part-00000", "c/out/part-00001"}
		if crashed { // it was decided to be published
			want = append(want, "e/out/_SUCCESS", "e/out/part-00000", "e/out/part-00001")
		}
		if !slices.Equal(visible, want) {
			t.Errorf("%s: visible are %v, want %v", root, visible, want)
		}
	}
}

// A job whose name is too long for a folder is found with its name where it has begun to
// publish, and else by that of its folder; either is enough to remove what it left.
func TestLeftoversOfLongNames(t *testing.T) {
	root := filepath.Join(t.TempDir(), "top")
	long := func(c string) string { return strings.Repeat(c, 150) }
	for _, job := range []string{long("A"), long("B")} {
		s := mustSink(t, files.SinkArgs{Path: root + "/" + job[:1], Format: "text"})
		c := dataflow.Commit{Job: job}
		c.Prepared = must(s.Prepare(t.Context(), c))
		seal(t, s, c, 0, lines("x"))
	}
	a := files.Leftovers{Job: storage.OwnerFolder(long("A")), Attempts: 1, Bytes: 2}
	b := files.Leftovers{Job: storage.OwnerFolder(long("B")), Attempts: 1, Bytes: 2}
	same := func(want ...files.Leftovers) {
		t.Helper()
		left := must(files.FindLeftovers(t.Context(), root))
		for i := range left {
			left[i].Changed = time.Time{}
		}
		if len(left)+len(want) > 0 && !reflect.DeepEqual(left, want) {
			t.Errorf("left are %+v, want %+v", left, want)
		}
	}
	same(a, b)
	check(t, files.RemoveLeftovers(t.Context(), root, a))
	same(b)
	// B takes its turn, and dies; a bare name is what a turn was once.
	check(t, os.MkdirAll(filepath.Join(root, "B"), 0o755))
	check(t, os.WriteFile(filepath.Join(root, "B", "_manifest"), []byte(long("B")), 0o644))
	b.Job, b.Commits = long("B"), []string{filepath.ToSlash(filepath.Join(root, "B"))}
	same(b)
	check(t, files.RemoveLeftovers(t.Context(), root, b))
	same()
}

// What only looks like a commit's file is left alone, and a damaged one is told.
func TestLeftoversOfOthers(t *testing.T) {
	fs := mem.New()
	use(fs)
	put(t, fs, "o/_manifest-%zz", []byte("x"))
	put(t, fs, "o/_manifests", []byte("x"))
	put(t, fs, "o/manifest-a", []byte("x"))
	put(t, fs, "o/_metadata", []byte("x"))
	if left, err := files.FindLeftovers(t.Context(), "faulty:///o"); err != nil || len(left) != 0 {
		t.Errorf("%+v, %v", left, err)
	}
	put(t, fs, "o/_manifest-a", []byte("x"))
	if left, err := files.FindLeftovers(t.Context(), "faulty:///o"); dataflow.KindOf(err) != dataflow.Corrupt || len(left) != 0 {
		t.Errorf("%+v, %v, want an error of kind corrupt", left, err)
	}
	if _, err := files.FindLeftovers(context.Background(), "nothing://x"); dataflow.KindOf(err) != dataflow.User {
		t.Errorf("an unknown storage: %v", err)
	}
}
