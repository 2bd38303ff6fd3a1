package files_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/mem"
)

// knownFS opens what was listed without a request and can be told what comes next. It
// counts what is open.
type knownFS struct {
	storage.Filesystem
	mu      sync.Mutex
	asked   int            // calls of Open
	open    map[string]int // files by name
	most    int            // of them at once
	fetched map[string]int // Prefetch calls by name
}

func newKnownFS(fs storage.Filesystem) *knownFS {
	return &knownFS{Filesystem: fs, open: map[string]int{}, fetched: map[string]int{}}
}

func (f *knownFS) Unwrap() storage.Filesystem { return f.Filesystem }

func (f *knownFS) Open(ctx context.Context, name string) (storage.File, error) {
	f.mu.Lock()
	f.asked++
	f.mu.Unlock()
	return f.Filesystem.Open(ctx, name)
}

func (f *knownFS) OpenKnown(ctx context.Context, info storage.Info) (storage.File, error) {
	if strings.Contains(info.Name, "gone") {
		return nil, storage.ErrNotExist
	}
	in, err := f.Filesystem.Open(ctx, info.Name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[info.Name]++
	f.most = max(f.most, len(f.open))
	return &knownFile{File: in, fs: f, name: info.Name}, err
}

type knownFile struct {
	storage.File
	fs   *knownFS
	name string
}

func (f *knownFile) Prefetch(off int64) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.fetched[fmt.Sprint(f.name, "@", off)]++
}

func (f *knownFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.open[f.name]--; f.fs.open[f.name] == 0 {
		delete(f.fs.open, f.name)
	}
	return f.File.Close()
}

// TestAhead reads a split of many small files, of which the next are opened before their
// turn: all rows come in order, however far it is read or is given away, and what was
// opened is closed.
func TestAhead(t *testing.T) {
	const all = 400 // in four splits
	for _, c := range []struct {
		name       string
		give       int // the batch before which the rest is given away; -1: never
		stop       int // the batch before which the stream is closed
		gone, size int
	}{
		{"to the end", -1, all + 1, -1, 10},
		{"closed at once", -1, 0, -1, 10},
		{"closed in the middle", -1, all / 8, -1, 10},
		{"given away before", 0, all + 1, -1, 10},
		{"given away in the middle", all / 8, all + 1, -1, 10},
		{"given away near the end", all/4 - 3, all + 1, -1, 10},
		{"larger files", -1, all + 1, -1, 1 << 20},
		{"a file is gone", -1, all + 1, all / 2, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := all
			if c.size > 10 {
				n = 100
			}
			if race.Short() && c.size > 10 {
				t.Skip("a hundred megabytes")
			}
			known := newKnownFS(mem.New())
			use(known)
			var want []string
			for i := range n {
				name := fmt.Sprintf("in/%03d", i)
				if i == c.gone {
					name += "-gone"
				}
				line := name + strings.Repeat("x", c.size)
				put(t, known.Filesystem, name, []byte(line+"\n"))
				want = append(want, connectortest.Strings(lines(line))...)
			}
			src := mustSource(t, textOf("faulty:///in"))
			splits := must(src.Splits(t.Context(), dataflow.SplitHint{}))
			var got []string
			var err error
			read := func(split dataflow.Split, give, stop int) (rest *dataflow.Split) {
				st := must(src.Open(dataflow.NewEnv(t.Context()), split))
				defer func() { check(t, st.Close()) }()
				for k := 0; k < stop; k++ {
					if k == give {
						if _, r, ok := st.(dataflow.Splitter).TrySplit(0.2); ok {
							rest = &r
						}
					}
					b, e := st.Next(t.Context())
					if e != nil {
						if e != io.EOF {
							err = e
						}
						return rest
					}
					got = append(got, connectortest.Strings(b)...)
					b.Release()
				}
				return rest
			}
			for _, s := range splits {
				if rest := read(s, c.give, c.stop); rest != nil {
					read(*rest, -1, n+1)
				} else if c.give >= 0 {
					t.Error("nothing was given away")
				}
				if c.stop <= n || err != nil {
					break
				}
			}
			if c.gone >= 0 {
				if !errors.Is(err, storage.ErrNotExist) {
					t.Errorf("%v, want that a file does not exist", err)
				}
				want = want[:c.gone]
			} else if err != nil {
				t.Error(err)
			}
			if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) || c.stop > n && len(got) != len(want) {
				t.Errorf("%d rows, want %d in their order", len(got), len(want))
			}
			if len(known.open) > 0 || known.asked > 0 {
				t.Errorf("left open: %v; opened as if they were unknown: %d", slices.Collect(maps.Keys(known.open)), known.asked)
			}
			most := 65
			if c.size > 10 {
				most = 8
			}
			if known.most > most || c.stop > n/4 && known.most < most {
				t.Errorf("%d files were open at once, want %d", known.most, most)
			}
			for name, times := range known.fetched {
				if times > 1 && c.give < 0 || !strings.HasSuffix(name, "@0") {
					t.Errorf("%s was fetched ahead %d times", name, times)
				}
			}
			if c.stop > n && c.gone < 0 && c.size == 10 && len(known.fetched) < n-2*len(splits) {
				t.Errorf("only %d files were fetched ahead", len(known.fetched))
			}
		})
	}
}
