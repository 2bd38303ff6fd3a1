package shuffle

import (
	"io/fs"
	"os"
	"sync"
)

// indexesBytes is the most that Indexes keeps.
const indexesBytes = 8 << 20

// Indexes keeps the indexes of outputs that were opened, some MiB of them: an output is
// opened by each of its readers, and of many ways its index is much of what a reader would
// read. What a path leads to is asked each time, so an output that has gone or is another
// by now is never taken for the one that was. Its methods may be called from many
// goroutines. A nil one keeps nothing; the zero value is ready.
type Indexes struct {
	mu    sync.Mutex
	of    map[string]knownIndex // by the data file's name
	bytes int64
}

type knownIndex struct {
	index *Index
	data  fs.FileInfo // of the data file that it belongs to
}

func (k knownIndex) cost() int64 { return keptSize(0, len(k.index.Entries)) }

// OpenFile is the function of that name, which reads the index only where it is not known.
func (x *Indexes) OpenFile(output string) (*File, error) {
	if x == nil {
		return OpenFile(output)
	}
	name := DataPath(output)
	if k, ok := x.get(name); ok {
		if f, err := os.Open(name); err == nil {
			if info, err := f.Stat(); err == nil && same(k.data, info) {
				return &File{Index: k.index, data: f}, nil
			}
			f.Close()
		}
		x.drop(name)
	}
	f, err := OpenFile(output)
	if err == nil && f.info != nil {
		x.put(name, knownIndex{f.Index, f.info})
	}
	return f, err
}

// same says whether a file is the one it was. A sealed one never changes.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (x *Indexes) get(name string) (knownIndex, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k, ok := x.of[name]
	return k, ok
}

// put keeps an index. Where there is no room, any others go: readers come by all outputs
// in turn, and the one that was used longest ago would be the next.
func (x *Indexes) put(name string, k knownIndex) {
	if k.cost() > indexesBytes {
		return
	}
	x.drop(name)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.of == nil {
		x.of = map[string]knownIndex{}
	}
	for other, o := range x.of {
		if x.bytes+k.cost() <= indexesBytes {
			break
		}
		x.bytes -= o.cost()
		delete(x.of, other)
	}
	if old, ok := x.of[name]; ok { // another reader's, meanwhile
		x.bytes -= old.cost()
	}
	x.of[name] = k
	x.bytes += k.cost()
}

func (x *Indexes) drop(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old, ok := x.of[name]; ok {
		x.bytes -= old.cost()
		delete(x.of, name)
	}
}
