package faulty

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/divisi-data/divisi/storage"
)

func (s Short) or(err error) error {
	if s.Err != nil {
		return s.Err
	}
	return err
}

// spoil flips a bit of p.
func (f Flip) spoil(p []byte) {
	if len(p) > 0 {
		p[(f.At%len(p)+len(p))%len(p)] ^= 0x10
	}
}

func (f Flip) copy(p []byte) []byte {
	p = bytes.Clone(p)
	f.spoil(p)
	return p
}

type file struct {
	fs     *FS
	in     storage.File
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	reads  atomic.Int64
	closes atomic.Int64
}

func (f *file) Size() int64 { return f.in.Size() }

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	verdict := f.fs.hook(Op{Kind: Read, Name: f.name, N: int(f.reads.Add(1)), Off: off, Len: len(p)})
	if short, ok := errors.AsType[Short](verdict); ok {
		n, err := f.in.ReadAt(p[:max(0, min(short.N, len(p)))], off)
		if err != nil {
			return n, err
		}
		return n, short.or(io.ErrUnexpectedEOF)
	}
	err = do(f.ctx, verdict, func() (err error) {
		n, err = f.in.ReadAt(p, off)
		return err
	})
	if flip, ok := errors.AsType[Flip](verdict); ok {
		flip.spoil(p[:n])
	}
	return n, err
}

func (f *file) Close() error {
	f.cancel()
	verdict := f.fs.hook(Op{Kind: Close, Name: f.name, N: int(f.closes.Add(1))})
	// Whatever is said about it, the file is closed: no test leaks by a fault.
	return errors.Join(f.in.Close(), do(f.ctx, verdict, func() error { return nil }))
}

type object struct {
	fs     *FS
	in     storage.Object
	name   string
	ctx    context.Context
	writes int
	off    int64
}

func (o *object) Write(p []byte) (n int, err error) {
	o.writes++
	verdict := o.fs.hook(Op{Kind: Write, Name: o.name, N: o.writes, Off: o.off, Len: len(p)})
	defer func() { o.off += int64(n) }()
	if short, ok := errors.AsType[Short](verdict); ok {
		n, err := o.in.Write(p[:max(0, min(short.N, len(p)))])
		if err != nil {
			return n, err
		}
		return n, short.or(io.ErrShortWrite)
	}
	if flip, ok := errors.AsType[Flip](verdict); ok {
		p = flip.copy(p)
	}
	err = do(o.ctx, verdict, func() (err error) {
		n, err = o.in.Write(p)
		return err
	})
	return n, err
}

func (o *object) Seal(ctx context.Context) (s storage.Sealed, err error) {
	called := false
	err = do(ctx, o.fs.ask(Op{Kind: Seal, Name: o.name}), func() (err error) {
		called = true
		s, err = o.in.Seal(ctx)
		return err
	})
	if err != nil && !called {
		// A Seal that fails has thrown away what was written: so must this one.
		err = errors.Join(err, o.in.Abort(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return storage.Sealed{}, err
	}
	return s, nil
}

func (o *object) Abort(ctx context.Context) error {
	return do(ctx, o.fs.ask(Op{Kind: Abort, Name: o.name}), func() error { return o.in.Abort(ctx) })
}
