package shuffle

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
)

// writeSize is how much is collected before it is written.
const writeSize = 512 << 10

// An output is a file being written, partition by partition.
type output struct {
	name    string
	file    *os.File
	buf     []byte
	pos     int64   // bytes written or collected
	entries []Entry // bytes and rows of each partition so far
}

// create makes the file unless there is one.
func (o *output) create() error {
	if o.file != nil {
		return nil
	}
	f, err := os.Create(o.name)
	if err != nil {
		return block.FileError("shuffle.Write", o.name, err)
	}
	o.file = f
	return nil
}

// write adds the frame of b to partition p, or two of its halves where b is too
// large for a frame.
func (o *output) write(enc *block.Encoder, p int, b dataflow.Batch) error {
	before := len(o.buf)
	var err error
	o.buf, err = enc.Encode(o.buf, b)
	if n := b.NumRows(); n > 1 && errors.Is(err, dataflow.ErrRecordTooLarge) {
		for _, cut := range [2][2]int64{{0, n / 2}, {n / 2, n}} {
			half := b.NewSlice(cut[0], cut[1])
			err := o.write(enc, p, half)
			half.Release()
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	o.add(p, int64(len(o.buf)-before), b.NumRows())
	return o.flushAt(writeSize)
}

// writeRuns adds the frame of rows of several batches to partition p, or says false
// where they have to be one batch first.
func (o *output) writeRuns(enc *block.Encoder, p int, batches []dataflow.Batch, runs []block.Run) (bool, error) {
	before := len(o.buf)
	var ok bool
	var err error
	if o.buf, ok, err = enc.EncodeRuns(o.buf, batches, runs); !ok || err != nil {
		return false, err
	}
	rows := int64(0)
	for _, r := range runs {
		rows += int64(r.To - r.From)
	}
	o.add(p, int64(len(o.buf)-before), rows)
	return true, o.flushAt(writeSize)
}

// copy adds bytes that are frames already.
func (o *output) copy(p int, from io.ReaderAt, e Entry) error {
	for off, n := e.Offset, e.Bytes; n > 0; {
		step := min(n, writeSize)
		start := len(o.buf)
		o.buf = append(o.buf, make([]byte, step)...)
		if got, err := from.ReadAt(o.buf[start:], off); int64(got) < step {
			return fmt.Errorf("reading back %d bytes at %d: %w", step, off, err)
		}
		off, n = off+step, n-step
		if err := o.flushAt(writeSize); err != nil {
			return err
		}
	}
	o.add(p, e.Bytes, e.Rows)
	return nil
}

func (o *output) add(p int, bytes, rows int64) {
	o.pos += bytes
	o.entries[p].Bytes += bytes
	o.entries[p].Rows += rows
}

func (o *output) flushAt(n int) error {
	if len(o.buf) < n {
		return nil
	}
	if err := o.create(); err != nil {
		return err
	}
	_, err := o.file.Write(o.buf)
	o.buf = o.buf[:0]
	if err != nil {
		return block.FileError("shuffle.Write", o.file.Name(), err)
	}
	return nil
}

// close writes the rest.
func (o *output) close() error {
	if err := o.create(); err != nil {
		return err
	}
	if err := o.flushAt(1); err != nil {
		return err
	}
	f := o.file
	o.file, o.buf = nil, nil
	if err := f.Close(); err != nil {
		return block.FileError("shuffle.Write", o.name, err)
	}
	return nil
}

// discard deletes the file, whether it was closed or not.
func (o *output) discard() error {
	if o.file != nil {
		_ = o.file.Close()
		o.file, o.buf = nil, nil
	}
	if err := os.Remove(o.name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// runs are what a Writer put on disk because memory was short: one temporary file
// with one run after the other, each clustered by partition.
type runs struct {
	env   *dataflow.Env
	out   output
	all   []run
	held  int64
	start int64
}

// tableBytes is what a run keeps in memory.
func (r *runs) tableBytes() int64 { return int64(8 * len(r.out.entries)) }

// A run keeps 8 bytes for each partition: there may be many runs.
type run struct {
	start int64
	parts []runPart
}

type runPart struct{ bytes, rows uint32 }

func (r *runs) begin(env *dataflow.Env, n int) error {
	if r.out.file == nil {
		f, err := env.Temp.Create("shuffle")
		if err != nil {
			return block.FileError("shuffle.Spill", "", err)
		}
		r.env, r.out = env, output{name: f.Name(), file: f}
	}
	r.start = r.out.pos
	r.out.entries = make([]Entry, n)
	return nil
}

func (r *runs) end() error {
	run := run{start: r.start, parts: make([]runPart, len(r.out.entries))}
	for i, e := range r.out.entries {
		if e.Bytes > math.MaxUint32 || e.Rows > math.MaxUint32 {
			return &dataflow.Error{Op: "shuffle.Spill", Path: r.out.name, Kind: dataflow.Fatal,
				Err: fmt.Errorf("partition %d of one run has %d rows in %d bytes, more than a run can hold", i, e.Rows, e.Bytes)}
		}
		run.parts[i] = runPart{uint32(e.Bytes), uint32(e.Rows)}
	}
	r.all = append(r.all, run)
	return nil
}

// copy moves partition p of all runs to out, in the order in which they were
// written. Partitions are asked for in turn, so each run is read from its start to
// its end.
func (r *runs) copy(p int, out *output) error {
	if len(r.all) == 0 {
		return nil
	}
	if err := r.out.flushAt(1); err != nil {
		return err
	}
	for i := range r.all {
		run := &r.all[i]
		e := Entry{Offset: run.start, Bytes: int64(run.parts[p].bytes), Rows: int64(run.parts[p].rows)}
		if e.Bytes == 0 {
			continue
		}
		if err := out.copy(p, r.out.file, e); err != nil {
			return block.FileError("shuffle.Seal", r.out.name, err)
		}
		run.start += e.Bytes
	}
	return nil
}

func (r *runs) remove() error {
	if r.out.file == nil {
		return nil
	}
	r.env.Memory.Release(r.held)
	r.held, r.all = 0, nil
	return r.out.discard()
}
