package block

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// shortFlush is how much a spill collects when there is no memory to collect in.
const shortFlush = 32 << 10

// NewSpill keeps batches in the files that env.Temp makes, one file a run, as
// frames of the given codec. A run being written holds about 256 KiB, which it
// asks env.Memory for and does with 32 KiB when told no, and one frame; a run being
// read holds 64 KiB and what its batches take from env.Alloc.
func NewSpill(codec Codec) dataflow.Spill { return spill{codec} }

type spill struct{ codec Codec }

// Create implements dataflow.Spill.
func (s spill) Create(env *dataflow.Env, name string, schema *arrow.Schema) (dataflow.SpillWriter, error) {
	enc, err := NewEncoder(schema, s.codec)
	if err != nil {
		return nil, err
	}
	file, err := env.Temp.Create(name)
	if err != nil {
		return nil, FileError("block.Spill", "", err)
	}
	w := &spillWriter{env: env, name: name, schema: schema, file: file,
		out: Writer{w: file, enc: enc, flushAt: shortFlush}}
	if env.Memory.TryReserve(flushBytes) {
		w.out.flushAt, w.reserved = flushBytes, flushBytes
	}
	return w, nil
}

type spillWriter struct {
	env      *dataflow.Env
	name     string
	schema   *arrow.Schema
	file     *os.File // nil once finished or aborted
	out      Writer
	reserved int64
}

// Write implements dataflow.SpillWriter.
func (w *spillWriter) Write(b dataflow.Batch) error {
	if w.file == nil {
		return &dataflow.Error{Op: "block.Spill", Path: w.name, Kind: dataflow.Fatal, Err: errors.New("write to a run that has ended")}
	}
	if err := w.out.Write(b); err != nil {
		return FileError("block.Spill", w.file.Name(), err)
	}
	return nil
}

// Finish implements dataflow.SpillWriter.
func (w *spillWriter) Finish() (dataflow.SpillRun, error) {
	if w.file == nil {
		return nil, &dataflow.Error{Op: "block.Spill", Path: w.name, Kind: dataflow.Fatal, Err: errors.New("a run ends once")}
	}
	if err := w.out.Flush(); err != nil {
		err = FileError("block.Spill", w.file.Name(), err)
		w.Abort()
		return nil, err
	}
	run := &spillRun{file: w.file, schema: w.schema, alloc: w.env.Alloc, rows: w.out.rows, bytes: w.out.bytes}
	w.end()
	w.env.Spilled(dataflow.SpillInfo{Operator: w.name, Rows: run.rows, Bytes: run.bytes})
	return run, nil
}

// Abort implements dataflow.SpillWriter.
func (w *spillWriter) Abort() {
	if f := w.file; f != nil {
		w.end()
		_ = remove(f) // the attempt's folder goes with the attempt
	}
}

func (w *spillWriter) end() {
	w.file = nil
	w.out.buf = nil
	w.env.Memory.Release(w.reserved)
	w.reserved = 0
}

type spillRun struct {
	file        *os.File
	schema      *arrow.Schema
	alloc       memory.Allocator
	rows, bytes int64
}

// Open implements dataflow.SpillRun. The stream does not outlive Remove.
func (r *spillRun) Open() (dataflow.Stream, error) {
	in, err := NewReader(io.NewSectionReader(r.file, 0, r.bytes), r.file.Name(), 0, r.schema, r.alloc)
	if err != nil {
		return nil, err
	}
	return &spillReader{Reader: in, run: r}, nil
}

// spillReader knows what was written: a file that was cut between two frames looks
// whole to a Reader.
type spillReader struct {
	*Reader
	run    *spillRun
	rows   int64
	closed bool
}

// Next implements dataflow.Stream.
func (s *spillReader) Next(ctx context.Context) (dataflow.Batch, error) {
	b, err := s.Reader.Next(ctx)
	if err == nil {
		s.rows += b.NumRows()
	}
	if err == io.EOF && !s.closed && (s.rows != s.run.rows || s.Offset() != s.run.bytes) {
		return nil, s.at(corrupt("it ends after %d rows in %d bytes, written were %d in %d", s.rows, s.Offset(), s.run.rows, s.run.bytes))
	}
	return b, err
}

// Close implements dataflow.Stream.
func (s *spillReader) Close() error {
	s.closed = true
	return s.Reader.Close()
}

// Rows implements dataflow.SpillRun.
func (r *spillRun) Rows() int64 { return r.rows }

// Bytes implements dataflow.SpillRun.
func (r *spillRun) Bytes() int64 { return r.bytes }

// Remove implements dataflow.SpillRun. A second call is harmless.
func (r *spillRun) Remove() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return remove(f)
}

func remove(f *os.File) error {
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// FileError gives what a file system says the form that the scheduler reads: a
// full disk is of kind DiskFull and wraps dataflow.ErrDiskFull.
func FileError(op, name string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &dataflow.Error{Op: op, Path: name, Kind: dataflow.DiskFull, Err: fmt.Errorf("%w: %w", dataflow.ErrDiskFull, err),
			Try: "give the worker a larger or another folder for shuffle and temporary files"}
	}
	if dataflow.KindOf(err) == dataflow.DiskFull {
		return &dataflow.Error{Op: op, Path: name, Kind: dataflow.DiskFull, Err: err}
	}
	return &dataflow.Error{Op: op, Path: name, Err: err}
}
