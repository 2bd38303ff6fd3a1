package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// part is one attempt to write one part. Nothing is made before the first row: an
// attempt without rows seals a receipt without a file.
type part struct {
	env  *dataflow.Env
	sink *sink
	fs   storage.Filesystem
	name string

	object  storage.Object
	counter countingWriter
	codec   io.WriteCloser
	encoder Encoder
	ended   bool
	receipt dataflow.Receipt
}

// partPayload is what Publish learns of a part.
type partPayload struct {
	Rows   int64           `json:"rows"`
	Sealed *storage.Sealed `json:"sealed,omitempty"` // nil: no rows, no file
}

// Open implements dataflow.Sink.
func (s *sink) Open(env *dataflow.Env) (dataflow.Writer, error) {
	fs, out, err := storage.Resolve(env.Context, s.path)
	if err != nil {
		return nil, storageError("files.Write", s.path, err)
	}
	var prep prepared
	if err := json.Unmarshal(env.Output.Commit.Prepared, &prep); err != nil {
		return nil, &dataflow.Error{Op: "files.Write", Path: s.path, Kind: dataflow.Fatal, Err: fmt.Errorf("what Prepare said: %w", err)}
	}
	name := partName(prep.Base+env.Output.Part, s.writer.Suffix()+codec.Suffix(s.codec))
	return &part{env: env, sink: s, fs: fs, name: join(out, name), receipt: dataflow.Receipt{Task: env.Task}}, nil
}

var errEnded = errors.New("the writer has ended")

// Write implements dataflow.Writer.
func (p *part) Write(ctx context.Context, b dataflow.Batch) error {
	if p.ended {
		return errEnded
	}
	if b.NumRows() == 0 {
		return nil
	}
	if p.encoder == nil {
		if err := p.begin(ctx, b); err != nil {
			return err
		}
	}
	if err := p.encoder.Write(b); err != nil {
		return p.fail(err)
	}
	p.receipt.Rows += b.NumRows()
	h, err := dataflow.RowHash(b)
	if err != nil {
		return p.fail(err)
	}
	p.receipt.Hash += h
	return nil
}

func (p *part) begin(ctx context.Context, b dataflow.Batch) (err error) {
	// The object outlives this call, so it belongs to the attempt's context.
	p.object, err = p.fs.Create(storage.WithOwner(p.env.Context, p.env.Output.Commit.Job), p.name)
	if err != nil {
		return p.fail(err)
	}
	p.counter.w = p.object
	if p.codec, err = compress(p.sink.codec, &p.counter); err != nil {
		return p.fail(err)
	}
	p.encoder, err = p.sink.writer.Open(p.env, p.codec, b.Schema())
	if err != nil {
		return p.fail(err)
	}
	return ctx.Err()
}

// Seal implements dataflow.Writer.
func (p *part) Seal(ctx context.Context) (dataflow.Receipt, error) {
	if p.ended {
		return p.receipt, nil
	}
	payload := partPayload{Rows: p.receipt.Rows}
	if p.object != nil {
		if err := p.encoder.Close(); err != nil {
			return dataflow.Receipt{}, p.fail(err)
		}
		if err := p.codec.Close(); err != nil {
			return dataflow.Receipt{}, p.fail(err)
		}
		sealed, err := p.object.Seal(ctx)
		if err != nil {
			return dataflow.Receipt{}, p.fail(err)
		}
		payload.Sealed = &sealed
		p.receipt.Bytes = p.counter.n
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return dataflow.Receipt{}, p.fail(err)
	}
	p.receipt.Payload = raw
	p.ended = true
	return p.receipt, nil
}

// Abort implements dataflow.Writer.
func (p *part) Abort(ctx context.Context) error {
	if p.ended {
		return nil
	}
	p.ended = true
	if p.encoder != nil {
		// Encoders hold memory until they are closed; what they write now goes nowhere.
		p.counter.w = io.Discard
		p.encoder.Close()
		p.codec.Close()
	}
	if p.object == nil {
		return nil
	}
	if err := p.object.Abort(ctx); err != nil {
		return p.fail(err)
	}
	return nil
}

func (p *part) fail(err error) error {
	return storageError("files.Write", storage.URI(p.sink.path, p.name), err)
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
