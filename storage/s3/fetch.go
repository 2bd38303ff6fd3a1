package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// pace is how long reads of a block take, and how often they were asked for twice.
type pace struct {
	mu      sync.Mutex
	usual   time.Duration // a running mean
	fetches int
	hedges  int
}

func (p *pace) took(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fetches++; p.usual == 0 {
		p.usual = d
	}
	p.usual += (d - p.usual) / 16
}

// patience is how long to wait before asking again.
func (p *pace) patience(least time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(least, 4*p.usual)
}

// hedge reports whether one more may be asked for twice: five in a hundred, so
// that a slow server does not get twice the load.
func (p *pace) hedge() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hedges*20 > p.fetches+20 {
		return false
	}
	p.hedges++
	return true
}

// fetch fills dst with the bytes at off. When the answer takes much longer than
// usual it is asked for a second time, and whichever comes first is taken.
func (f *file) fetch(ctx context.Context, dst []byte, off int64) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait() // nobody writes into dst after this
	defer cancel()

	began := time.Now()
	first, second := make(chan error, 1), make(chan error, 1)
	work.Go(func() { first <- f.get(ctx, dst, off) })
	late := time.NewTimer(f.fs.pace.patience(f.fs.set.hedge))
	defer late.Stop()
	select {
	case err := <-first:
		if err == nil {
			f.fs.pace.took(time.Since(began))
		}
		return err
	case <-late.C:
	}
	if !f.fs.pace.hedge() {
		return <-first
	}
	other := make([]byte, len(dst))
	work.Go(func() { second <- f.get(ctx, other, off) })
	select {
	case err := <-first:
		if err != nil {
			if err = <-second; err == nil {
				copy(dst, other)
			}
		}
		return err
	case err := <-second:
		if err != nil {
			return <-first
		}
		cancel()
		if err := <-first; err != nil {
			copy(dst, other)
		}
		return nil
	}
}

// get fills dst with the bytes at off. What has come before a failure is kept.
func (f *file) get(ctx context.Context, dst []byte, off int64) error {
	got := 0
	return f.fs.try(ctx, "read", f.name, func(c call) error {
		var opts minio.GetObjectOptions
		if from := off + int64(got); from > 0 || int64(len(dst)) < f.size { // a whole object costs less than a range
			if err := opts.SetRange(from, off+int64(len(dst))-1); err != nil {
				return &fault{text: err.Error()}
			}
		}
		if f.etag != "" {
			if err := opts.SetMatchETag(f.etag); err != nil {
				return &fault{text: err.Error()}
			}
		}
		body, info, _, err := f.fs.core.GetObject(c.ctx, f.fs.bucket, f.name, opts)
		switch code(err) {
		case "":
		case minio.PreconditionFailed:
			return &fault{is: storage.ErrChanged, code: code(err), text: "it was replaced since it was listed or opened"}
		case minio.NoSuchKey:
			return &fault{is: storage.ErrNotExist, code: code(err), text: "it was removed since it was listed or opened"}
		}
		if err != nil {
			return err
		}
		defer body.Close()
		if rest := int64(len(dst) - got); info.Size != rest {
			return fmt.Errorf("asked for %d bytes, the server answers with %d", rest, info.Size)
		}
		for got < len(dst) {
			n, err := body.Read(dst[got:])
			got += n
			c.moved()
			if err != nil && got < len(dst) {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
		_, _ = body.Read(make([]byte, 1)) // the end: the connection can be used again
		return nil
	})
}
