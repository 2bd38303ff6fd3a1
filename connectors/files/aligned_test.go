package files_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/mem"
)

// A format that has to look where records begin is cut into ranges of whole records.
func TestAlignedSplits(t *testing.T) {
	fs := mem.New()
	use(fs)
	var text strings.Builder
	var want []string
	for n := range 400 {
		fmt.Fprintf(&text, "%d,\"line\n%d\"\n", n, n)
		want = append(want, fmt.Sprintf("%q %q ", fmt.Sprint(n), fmt.Sprintf("line\n%d", n)))
	}
	slices.Sort(want)
	put(t, fs, "t/k=1/a.csv", []byte(text.String()))
	put(t, fs, "long.csv", []byte("1,\""+strings.Repeat("2\n", 5000)+"\"\n3,4\n"))
	schema := json.RawMessage(`[{"name":"a","type":"string"},{"name":"b","type":"string"}]`)
	for _, c := range []struct {
		args   files.SourceArgs
		splits func(n int) bool
	}{
		{files.SourceArgs{}, func(n int) bool { return n > 5 }},
		{files.SourceArgs{Options: json.RawMessage(`{"header":false,"split":false}`)}, func(n int) bool { return n == 1 }},
		{files.SourceArgs{Partitions: []string{"k"}, Columns: []string{"a", "b"},
			Schema: json.RawMessage(`[{"name":"a","type":"string"},{"name":"b","type":"string"},{"name":"k","type":"string"}]`)}, func(n int) bool { return n > 5 }},
	} {
		a := c.args
		a.Paths, a.Format = []string{"faulty:///t"}, "csv"
		if a.Options == nil {
			a.Options = json.RawMessage(`{"header":false}`)
		}
		if a.Schema == nil {
			a.Schema = schema
		}
		s := mustSource(t, a)
		hint := dataflow.SplitHint{MaxBytes: 1000}
		if splits := must(s.Splits(t.Context(), hint)); !c.splits(len(splits)) {
			t.Errorf("%+v: %d splits", c.args, len(splits))
		}
		for _, max := range []int64{0, 13, 1000, int64(text.Len())} {
			if got := connectortest.Read(t, s, dataflow.SplitHint{MaxBytes: max}); !slices.Equal(got, want) {
				t.Errorf("%v, splits of %d bytes: %d rows %.200q, want %d %.200q", c.args.Partitions, max, len(got), got, len(want), want)
			}
		}
	}
	// A record over many cuts is one range, and no range is empty.
	s := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///long.csv"}, Format: "csv", Options: json.RawMessage(`{"header":false}`), Schema: schema})
	splits := must(s.Splits(t.Context(), dataflow.SplitHint{MaxBytes: 4}))
	var at []string
	for _, s := range splits {
		at = append(at, strings.TrimPrefix(s.ID, "0"))
	}
	if len(splits) != 2 || splits[0].Bytes != 10_005 || splits[1].Bytes != 4 {
		t.Errorf("splits are %v", at)
	}
}

// longFS says that its files are longer than they are, and is not to be opened.
type longFS struct {
	storage.Filesystem
	size int64
}

func (f longFS) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for info, err := range f.Filesystem.List(ctx, prefix) {
			info.Size = f.size
			if !yield(info, err) {
				return
			}
		}
	}
}

var errOpened = errors.New("opened")

func (f longFS) Open(context.Context, string) (storage.File, error) { return nil, errOpened }

// Files are cut, for which they have to be read, only where there would not be enough
// splits without.
func TestAlignedWhole(t *testing.T) {
	fs := mem.New()
	for n := range 40 {
		put(t, fs, fmt.Sprintf("in/%02d", n), []byte("x\n"))
	}
	for _, c := range []struct {
		size  int64
		slots int
		cut   bool
	}{
		{200 << 20, 1, false}, {200 << 20, 10, false}, {200 << 20, 11, true}, {1 << 30, 1, false}, {1<<30 + 1, 1, true}, {10 << 20, 1000, false},
	} {
		use(longFS{fs, c.size})
		s := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///in"}, Format: "csv", Options: json.RawMessage(`{"header":false}`),
			Schema: json.RawMessage(`[{"name":"a","type":"string"}]`)})
		splits, err := s.Splits(t.Context(), dataflow.SplitHint{Slots: c.slots})
		if cut := errors.Is(err, errOpened); cut != c.cut || !cut && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		var sum int64
		for _, s := range splits {
			sum += s.Bytes
		}
		if !c.cut && sum != 40*c.size {
			t.Errorf("%+v: %d splits of %d bytes", c, len(splits), sum)
		}
	}
}
