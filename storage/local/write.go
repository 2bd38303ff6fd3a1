package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/divisi-data/divisi/internal/bare"
	"github.com/divisi-data/divisi/internal/crc32c"
	"github.com/divisi-data/divisi/storage"
)

// object is an attempt that is being written.
type object struct {
	place
	f    *os.File
	buf  *bufio.Writer
	sum  uint32 // CRC32C
	size int64

	sealed *storage.Sealed // set by a Seal that succeeded
	ended  bool
}

// Create begins an attempt for a name, out of sight.
func (FS) Create(ctx context.Context, name string) (storage.Object, error) {
	name, err := begin(ctx, "create", name)
	if err != nil {
		return nil, err
	}
	o, err := newObject(ctx, name, storage.Owner(ctx), false)
	if err != nil {
		return nil, failed("create", name, err)
	}
	return o, nil
}

var errReserved = errors.New("a part of the name is reserved for unpublished files: no folder may be called " + hidden + " or begin with " + hidden + "-")

func newObject(ctx context.Context, name, owner string, near bool) (*object, error) {
	if reserved(name) {
		return nil, errReserved
	}
	p, f, err := begun(ctx, name, storage.OwnerFolder(owner), near)
	if err != nil {
		return nil, err
	}
	return &object{place: p, f: f, buf: bufio.NewWriterSize(f, 64<<10)}, nil
}

func (o *object) Write(p []byte) (int, error) {
	if o.ended {
		return 0, failed("write", o.name, os.ErrClosed)
	}
	n, err := o.buf.Write(p)
	if !bare.Hashes() {
		o.sum = crc32c.Update(o.sum, p[:n])
	}
	o.size += int64(n)
	return n, failed("write", o.name, err)
}

func (o *object) Seal(ctx context.Context) (storage.Sealed, error) {
	if o.sealed != nil {
		return *o.sealed, nil
	}
	if o.ended {
		return storage.Sealed{}, failed("seal", o.name, os.ErrClosed)
	}
	if err := o.durable(ctx); err != nil {
		return storage.Sealed{}, errors.Join(failed("seal", o.name, err), o.Abort(ctx))
	}
	o.ended = true
	o.sealed = &storage.Sealed{Name: o.name, Token: o.temp, Size: o.size, CRC32: o.sum}
	return *o.sealed, nil
}

func (o *object) durable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := o.buf.Flush(); err != nil {
		return err
	}
	if err := o.f.Sync(); err != nil {
		return err
	}
	if err := o.f.Close(); err != nil {
		return err
	}
	// Somebody may have swept the attempt: then there is nothing to flush, and
	// the receipt must not say that there is.
	if _, err := os.Lstat(o.temp); err != nil {
		if absent(err) {
			err = fmt.Errorf("%w: it was swept or removed while it was written (%w)", storage.ErrGone, err)
		}
		return err
	}
	return flush(o.dir(), o.anchor)
}

func (o *object) Abort(context.Context) error {
	if o.ended {
		return nil
	}
	o.ended = true
	o.f.Close() // closed already where Seal failed late
	return failed("abort", o.name, drop(o.place))
}

// drop removes an attempt's file, if it is there, and the folders it leaves empty.
func drop(p place) error {
	err := os.Remove(p.temp)
	if absent(err) {
		err = nil
	}
	p.prune()
	return err
}
