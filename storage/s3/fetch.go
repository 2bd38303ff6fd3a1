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
	defer cancel()
	began := time.Now()
	var other []byte // filled by the second request; nil where there is none or it failed
	second := make(chan struct{})
	late := time.AfterFunc(f.fs.pace.patience(f.fs.set.hedge), func() {
		defer close(second)
		if !f.fs.pace.hedge() {
			return
		}
		p := make([]byte, len(dst))
		if f.read(ctx, p, off) == nil {
			other = p
			cancel() // the first
		}
	})
	err := f.read(ctx, dst, off)
	if late.Stop() {
		if err == nil {
			f.fs.pace.took(time.Since(began))
		}
		return err
	}
	if err == nil {
		cancel() // the second
	}
	<-second
	if err != nil && other != nil {
		copy(dst, other)
		err = nil
	}
	return err
}

// read fills dst with the bytes at off. What has come before a failure is kept.
func (f *file) read(ctx context.Context, dst []byte, off int64) error {
	got := 0
	return f.fs.try(ctx, "read", f.name, func(c call) error {
		r := ranged{name: f.name, etag: f.etag, from: off + int64(got), to: off + int64(len(dst))}
		r.whole = r.from == 0 && r.to == f.size // costs less than a range
		body, size, err := f.fs.get(c.ctx, r)
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
		if rest := int64(len(dst) - got); size != rest {
			return fmt.Errorf("asked for %d bytes, the server answers with %d", rest, size)
		}
		for got < len(dst) {
			var n int
			n, err = body.Read(dst[got:])
			got += n
			c.moved()
			if err != nil && got < len(dst) {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
		if err == nil {
			_, _ = body.Read(make([]byte, 1)) // the end: the connection can be used again
		}
		return nil
	})
}
