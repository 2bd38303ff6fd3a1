package files

import (
	"context"
	"errors"

	"github.com/divisi-data/divisi/storage"
)

// What is fetched of files before their turn comes, at most. A storage that can be told
// to fetch holds a block of each, some megabytes.
const (
	aheadFiles = 64
	aheadBytes = 8 << 20
)

// openAhead holds the files that come next in a split, of a storage that opens them
// without a request and then begins to fetch: who reads one small file after the other
// would wait for each. One goroutine uses it.
type openAhead struct {
	files []*Input // of the next pieces, in order
	bytes int64    // of their pieces
}

// take opens a piece, which is the one that is ahead if any is.
func (a *openAhead) take(ctx context.Context, s *stream, p piece) (*Input, error) {
	if len(a.files) == 0 {
		return s.source.openPiece(ctx, p, s.onBad)
	}
	in := a.files[0]
	a.files = a.files[1:]
	a.bytes -= in.Length
	return in, nil
}

// fill opens more of the pieces that come next, and forgets those that were given away.
// What cannot be opened is tried again, and fails, when its turn comes.
func (a *openAhead) fill(ctx context.Context, s *stream, next []piece) {
	for len(a.files) > len(next) {
		last := a.files[len(a.files)-1]
		a.files = a.files[:len(a.files)-1]
		a.bytes -= last.Length
		_ = last.Close() // nothing was written
	}
	for len(a.files) < min(len(next), aheadFiles) {
		p := next[len(a.files)]
		if p.ETag == "" || a.bytes+p.Bytes > aheadBytes {
			return
		}
		in, err := s.source.openPiece(ctx, p, s.onBad)
		if err != nil {
			return
		}
		if f, ok := in.File.(storage.Prefetcher); ok {
			f.Prefetch(p.Offset)
		}
		a.files = append(a.files, in)
		a.bytes += p.Bytes
	}
}

func (a *openAhead) close() error {
	var errs []error
	for _, in := range a.files {
		errs = append(errs, in.Close())
	}
	a.files, a.bytes = nil, 0
	return errors.Join(errs...)
}
