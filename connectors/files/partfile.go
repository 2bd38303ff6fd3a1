package files

import (
	"context"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/storage"
)

// partFile is one file of a part while it is written.
type partFile struct {
	object  storage.Object
	counter countingWriter
	codec   io.WriteCloser
	encoder Encoder
}

// newFile begins a file for batches of a schema. Where it fails there may be something
// to abort.
func (p *part) newFile(name string, schema *arrow.Schema) (*partFile, error) {
	f := &partFile{}
	var err error
	// The object outlives this call, so it belongs to the attempt's context.
	if f.object, err = p.fs.Create(storage.WithOwner(p.env.Context, p.env.Output.Commit.Job), name); err != nil {
		return nil, err
	}
	f.counter.w = f.object
	if f.codec, err = compress(p.sink.codec, &f.counter); err != nil {
		return f, err
	}
	f.encoder, err = p.sink.writer.Open(p.env, f.codec, schema)
	return f, err
}

// bytes is about how long the file is so far.
func (f *partFile) bytes() int64 {
	n := f.counter.n
	if b, ok := f.encoder.(Buffered); ok {
		n += b.Buffered()
	}
	return n
}

func (f *partFile) seal(ctx context.Context) (storage.Sealed, error) {
	if err := f.encoder.Close(); err != nil {
		return storage.Sealed{}, err
	}
	if err := f.codec.Close(); err != nil {
		return storage.Sealed{}, err
	}
	return f.object.Seal(ctx)
}

func (f *partFile) abort(ctx context.Context) error {
	// Encoders hold memory until they are closed; what they write now goes nowhere.
	f.counter.w = io.Discard
	if f.encoder != nil {
		f.encoder.Close()
	}
	if f.codec != nil {
		f.codec.Close()
	}
	return f.object.Abort(ctx)
}

// countingWriter counts the stored bytes.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
