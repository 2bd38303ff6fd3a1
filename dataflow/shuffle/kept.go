package shuffle

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
)

// Where a task and the worker that serves its output are one process, a small output need
// not become files: it is kept in memory, under the path that its files would have, and
// everything here that takes the path of an output finds it there. It is gone with the
// process, as its files would be with the worker's folder. Larger outputs, and all that do
// not find room, are files.

const (
	// keptEach is the most bytes of data of an output that is kept in memory.
	keptEach = 256 << 10
	// keptMost is the most bytes of all such outputs of a process together.
	keptMost = 32 << 20
	// keptCost is what an output and a partition of its index cost beside the data.
	keptCost = 256
)

// keptOutputs are the outputs that this process keeps. Its methods may be called from
// many goroutines.
type keptOutputs struct {
	mu   sync.Mutex
	room int64
	dirs map[string]map[string]keptOutput // by folder, then by name
}

type keptOutput struct {
	index *Index
	data  []byte
}

func (o keptOutput) cost() int64 { return keptSize(len(o.data), len(o.index.Entries)) }

func keptSize(bytes, partitions int) int64 {
	return int64(bytes) + keptCost + int64(partitions)*indexEntry
}

var kept = &keptOutputs{room: keptMost, dirs: map[string]map[string]keptOutput{}}

// reserve takes room for an output, which put uses.
func (k *keptOutputs) reserve(n int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n > k.room {
		return false
	}
	k.room -= n
	return true
}

// put keeps an output for which room was reserved.
func (k *keptOutputs) put(path string, o keptOutput) {
	dir, name := filepath.Split(filepath.Clean(path))
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dirs[dir] == nil {
		k.dirs[dir] = map[string]keptOutput{}
	}
	if old, ok := k.dirs[dir][name]; ok {
		k.room += old.cost()
	}
	k.dirs[dir][name] = o
}

func (k *keptOutputs) get(path string) (keptOutput, bool) {
	dir, name := filepath.Split(filepath.Clean(path))
	k.mu.Lock()
	defer k.mu.Unlock()
	o, ok := k.dirs[dir][name]
	return o, ok
}

// remove forgets an output and says whether it was there. Who reads it goes on.
func (k *keptOutputs) remove(path string) bool {
	dir, name := filepath.Split(filepath.Clean(path))
	k.mu.Lock()
	defer k.mu.Unlock()
	o, ok := k.dirs[dir][name]
	if ok {
		k.room += o.cost()
		if delete(k.dirs[dir], name); len(k.dirs[dir]) == 0 {
			delete(k.dirs, dir)
		}
	}
	return ok
}

// Forget forgets the outputs below a folder that are kept in memory. Who removes a folder
// with outputs calls it, too.
func Forget(folder string) {
	below := filepath.Clean(folder) + string(filepath.Separator)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	for dir, outputs := range kept.dirs {
		if strings.HasPrefix(dir, below) {
			for _, o := range outputs {
				kept.room += o.cost()
			}
			delete(kept.dirs, dir)
		}
	}
}

// memoryFile is the data of an output in memory.
type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }
