package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/divisi-data/divisi/storage"
	"golang.org/x/sync/errgroup"
)

const (
	blocksHeld  = 8 // of a file, at most, besides those that are on their way
	blocksAhead = 4
)

// file reads one object as it was when it was opened; when it is replaced
// meanwhile, reads fail. Small reads take blocks that are kept for a while; who
// reads block after block finds the next ones on their way. Large reads go past
// the blocks, several requests at once.
type file struct {
	fs     *FS
	name   string
	size   int64
	etag   string
	ctx    context.Context // of Open, until Close
	cancel context.CancelFunc
	work   sync.WaitGroup // fetches of blocks, and who looks at them

	mu     sync.Mutex
	closed bool
	blocks map[int64]*block
	used   []int64 // keys of blocks, the least recently used first
	last   int64   // the block read last
	ahead  int     // blocks to fetch ahead, growing while reads go on in order
}

// block is ready when done is closed.
type block struct {
	done chan struct{}
	data []byte
	err  error
}

// Open opens an object for as long as ctx lives.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	name = clean(name)
	if name == "" {
		return nil, f.failed("open", name, errors.New("names the bucket and no object"))
	}
	o, err := f.head(ctx, "open", name)
	if errors.Is(err, storage.ErrNotExist) {
		is, ferr := f.isFolder(ctx, name)
		if ferr != nil {
			return nil, ferr
		}
		if is {
			return nil, f.failed("open", name, errors.New("is a folder: name an object in it, or use it as an input where folders are taken"))
		}
	}
	if err != nil {
		return nil, err
	}
	return f.file(ctx, name, o.Size, o.ETag), nil
}

// OpenKnown opens an object as a listing described it, and sends nothing yet.
func (f *FS) OpenKnown(ctx context.Context, info storage.Info) (storage.File, error) {
	name := clean(info.Name)
	if name == "" || info.ETag == "" || reserved(name) {
		return f.Open(ctx, info.Name)
	}
	return f.file(ctx, name, info.Size, info.ETag), nil
}

func (f *FS) file(ctx context.Context, name string, size int64, etag string) *file {
	ctx, cancel := context.WithCancel(ctx)
	return &file{fs: f, name: name, size: size, etag: etag, ctx: ctx, cancel: cancel, blocks: map[int64]*block{}, last: -1}
}

// Prefetch begins to fetch the block at off.
func (f *file) Prefetch(off int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed && off >= 0 && off < f.size {
		f.begin(off / int64(f.fs.set.block))
	}
}

func (f *file) Size() int64 { return f.size }

// Close ends all requests of the file and waits until they have ended, and reads too.
func (f *file) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
	f.work.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.blocks {
		f.fs.spares.put(b.data)
	}
	f.blocks = nil
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, f.fs.failed("read", f.name, fmt.Errorf("negative offset %d", off))
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= f.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), f.size-off)]
	read := f.small
	if len(want) >= 2*f.fs.set.block {
		read = f.large
	}
	n, err := read(want, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// large reads straight into p.
func (f *file) large(p []byte, off int64) (int, error) {
	if f.isClosed() {
		return 0, f.fs.failed("read", f.name, os.ErrClosed)
	}
	g, ctx := errgroup.WithContext(f.ctx)
	g.SetLimit(blocksAhead)
	piece := max(f.fs.set.block, (len(p)+blocksAhead-1)/blocksAhead)
	at := off
	for part := range slices.Chunk(p, piece) {
		start := at
		at += int64(len(part))
		g.Go(func() error { return f.fetch(ctx, part, start) })
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// small copies out of blocks.
func (f *file) small(p []byte, off int64) (int, error) {
	size := int64(f.fs.set.block)
	n := 0
	for n < len(p) {
		i := (off + int64(n)) / size
		b, err := f.block(i)
		if err != nil {
			return n, err
		}
		<-b.done
		if err = b.err; err == nil {
			n += copy(p[n:], b.data[off+int64(n)-i*size:])
		}
		f.work.Done()
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// block finds or fetches a block, and fetches those behind it if the reader is on
// its way there. The file's memory stays until the caller says that its work is done.
func (f *file) block(i int64) (*block, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, f.fs.failed("read", f.name, os.ErrClosed)
	}
	switch i {
	case f.last:
	case f.last + 1:
		f.ahead = min(2*f.ahead+1, blocksAhead)
	default:
		f.ahead = 0
	}
	f.last = i
	f.work.Add(1)
	b := f.begin(i)
	for j := i + 1; j <= i+int64(f.ahead) && j*int64(f.fs.set.block) < f.size; j++ {
		f.begin(j)
	}
	for len(f.used) > blocksHeld+blocksAhead {
		delete(f.blocks, f.used[0])
		f.used = f.used[1:]
	}
	return b, nil
}

// begin gives a block that is there or on its way. The caller holds the lock.
func (f *file) begin(i int64) *block {
	f.used = append(slices.DeleteFunc(f.used, func(k int64) bool { return k == i }), i)
	if b := f.blocks[i]; b != nil {
		return b
	}
	off := i * int64(f.fs.set.block)
	b := &block{done: make(chan struct{}), data: f.fs.spares.take(int(min(int64(f.fs.set.block), f.size-off)))}
	f.blocks[i] = b
	f.work.Go(func() {
		defer close(b.done)
		if b.err = f.fetch(f.ctx, b.data, off); b.err != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.blocks[i] == b {
				delete(f.blocks, i) // the next read tries again
			}
		}
	})
	return b
}

func (f *file) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}
