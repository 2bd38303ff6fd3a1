package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// part is one attempt to write one part: one file, or where the sink says so one
// after the other, of a folder or a size each; never more than one at a time. Nothing
// is made before the first row: an attempt without rows seals a receipt without a file.
type part struct {
	env    *dataflow.Env
	sink   *sink
	fs     storage.Filesystem
	out    string
	number int

	folders *folders // nil: all rows belong to the output's own folder
	folder  string   // of file
	file    *partFile
	name    string // of file
	begun   map[string]int
	sealed  []storage.Sealed
	ended   bool
	receipt dataflow.Receipt
}

// partPayload is what Publish learns of a part.
type partPayload struct {
	Rows   int64           `json:"rows"`
	Sealed *storage.Sealed `json:"sealed,omitempty"` // nil: no rows, no file
	// More are the other files of a part that has several.
	More []storage.Sealed `json:"more,omitempty"`
}

// filesMax is how many files one attempt writes at most: its receipt, which names them
// all, is one message.
const filesMax = 5_000

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
	return &part{env: env, sink: s, fs: fs, out: out, number: prep.Base + env.Output.Part, begun: map[string]int{}, receipt: dataflow.Receipt{Task: env.Task}}, nil
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
	var err error
	if len(p.sink.partitionBy) == 0 {
		err = p.write(ctx, "", b)
	} else {
		if p.folders == nil {
			if p.folders, err = newFolders(b.Schema(), p.sink.partitionBy); err != nil {
				return p.fail(err)
			}
		}
		err = p.folders.each(b, func(folder string, rows dataflow.Batch) error { return p.write(ctx, folder, rows) })
	}
	if err != nil {
		return p.fail(err)
	}
	p.receipt.Rows += b.NumRows() // no hash: every file has a checksum
	return nil
}

// write adds rows of one folder.
func (p *part) write(ctx context.Context, folder string, b dataflow.Batch) error {
	if p.file != nil && (folder != p.folder || p.sink.target > 0 && p.file.bytes() >= p.sink.target) {
		if err := p.finish(ctx); err != nil {
			return err
		}
	}
	if p.file == nil {
		if len(p.sealed) == filesMax {
			return &dataflow.Error{Op: "files.Write", Path: p.sink.path, Kind: dataflow.User, Err: fmt.Errorf("a task writes more than %d files", filesMax),
				Try: "bring the rows of a folder together first, with an exchange by its columns, or name fewer columns"}
		}
		p.folder, p.name = folder, p.nameIn(folder)
		var err error
		if p.file, err = p.newFile(p.name, b.Schema()); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return p.file.encoder.Write(b)
}

// nameIn is the name of the next file in a folder.
func (p *part) nameIn(folder string) string {
	n := p.begun[folder]
	p.begun[folder]++
	base := fmt.Sprintf("part-%05d", p.number)
	if n > 0 || p.sink.target > 0 { // all of those that follow each other have a number, so that they are in order
		base += fmt.Sprintf("-%05d", n)
	}
	return join(join(p.out, folder), base+p.sink.writer.Suffix()+codec.Suffix(p.sink.codec))
}

// finish seals the file that is written.
func (p *part) finish(ctx context.Context) error {
	f := p.file
	sealed, err := f.seal(ctx)
	if err != nil {
		return err
	}
	dataflow.Advance(ctx) // a batch may have rows of thousands of folders
	p.file = nil
	p.sealed = append(p.sealed, sealed)
	p.receipt.Bytes += f.counter.n
	return nil
}

// Seal implements dataflow.Writer.
func (p *part) Seal(ctx context.Context) (dataflow.Receipt, error) {
	if p.ended {
		return p.receipt, nil
	}
	if p.file != nil {
		if err := p.finish(ctx); err != nil {
			return dataflow.Receipt{}, p.fail(err)
		}
	}
	payload := partPayload{Rows: p.receipt.Rows}
	if len(p.sealed) > 0 {
		payload.Sealed, payload.More = &p.sealed[0], p.sealed[1:]
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
	var errs []error
	if p.file != nil {
		errs = append(errs, p.file.abort(ctx))
	}
	if d, ok := storage.As[storage.Discarder](p.fs); ok { // else Clean finds them
		for _, s := range p.sealed {
			errs = append(errs, d.Discard(ctx, s))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return p.fail(err)
	}
	return nil
}

func (p *part) fail(err error) error {
	name := p.name
	if name == "" {
		name = p.out
	}
	return storageError("files.Write", storage.URI(p.sink.path, name), err)
}
