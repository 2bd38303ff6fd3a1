package shuffle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
)

// Options of a Writer. The zero value is good.
type Options struct {
	Codec block.Codec
	// FrameBytes is how large a frame should be before compression; 0: 1 MiB. A
	// partition with less has one smaller frame for each time that memory ran out.
	FrameBytes int
	// BufferBytes is how much to hold in memory at most, whatever env.Memory would
	// give; 0: 256 MiB.
	BufferBytes int64
	// NoHash leaves Sealed.Hash 0: for outputs whose rows nobody will compare.
	NoHash bool
	// Keep keeps a small output in memory instead of making files: for tasks in the
	// process that serves their outputs, see Forget.
	Keep bool
}

const (
	defaultFrame  = 1 << 20
	defaultBuffer = 256 << 20
)

// Sealed is what a Writer made.
type Sealed struct {
	Path       string     `json:"path"` // as OpenFile takes it
	Partitions []PartStat `json:"partitions"`
	Rows       int64      `json:"rows"`
	Bytes      int64      `json:"bytes"`          // of the data file
	Hash       uint64     `json:"hash,omitempty"` // order-independent hash of all rows, see dataflow.RowHash
}

// PartStat is how much one partition holds.
type PartStat struct {
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"` // as stored
}

// A Writer takes a task's rows and makes one output of them. It is used by one
// goroutine and ends with exactly one of Seal and Abort; a second call of either is
// harmless.
//
// It keeps the rows it is given, for as long as env.Memory allows, and writes them
// partition by partition when memory is short or at the end. What did not fit lies
// in one temporary file and is copied, frame by frame, into the output. A batch is
// always taken: one for which there is no memory at all is written at once. Beside
// what it reserves it needs about one batch and two frames to work with.
type Writer struct {
	env    *dataflow.Env
	schema *arrow.Schema
	part   Partitioner
	enc    *block.Encoder
	opt    Options
	path   string

	held buffer // rows in memory
	runs runs   // rows in the temporary file
	out  output
	rows int64
	hash uint64

	state  state
	sealed Sealed
}

type state uint8

const (
	open state = iota
	done
	aborted
)

// NewWriter makes the output of env.Task in the folder dir, under Name. No file is
// made before there is something to write.
func NewWriter(env *dataflow.Env, schema *arrow.Schema, part Partitioner, dir string, opt Options) (*Writer, error) {
	enc, err := block.NewEncoder(schema, opt.Codec)
	if err != nil {
		return nil, err
	}
	n := part.Partitions()
	if n < 1 || n > partitionMax {
		return nil, misfit("%d partitions; there can be 1 to %d", n, partitionMax)
	}
	if opt.FrameBytes <= 0 {
		opt.FrameBytes = defaultFrame
	}
	if opt.BufferBytes <= 0 {
		opt.BufferBytes = defaultBuffer
	}
	if n == 1 {
		// Nothing to sort: rows are kept only until they fill some frames.
		opt.BufferBytes = min(opt.BufferBytes, 8*int64(opt.FrameBytes))
	}
	w := &Writer{env: env, schema: schema, part: part, enc: enc, opt: opt, path: filepath.Join(dir, Name(env.Task))}
	w.held.init(env, schema, n)
	w.out.name = DataPath(w.path) + ".tmp"
	w.out.entries = make([]Entry, n)
	return w, nil
}

// Write takes rows; the batch stays the caller's.
func (w *Writer) Write(b dataflow.Batch) error {
	if w.state != open {
		return &dataflow.Error{Op: "shuffle.Write", Path: w.path, Kind: dataflow.Fatal, Err: errors.New("write to an output that has ended")}
	}
	n := b.NumRows()
	if n == 0 {
		return nil
	}
	if !w.opt.NoHash {
		h, err := dataflow.RowHash(b)
		if err != nil {
			return err
		}
		w.hash += h
	}
	c, err := w.held.chunk(w.part, b)
	if err != nil {
		return err
	}
	w.rows += n
	if w.held.bytes > 0 && w.held.bytes+c.bytes > w.opt.BufferBytes || !w.env.Memory.TryReserve(c.bytes) {
		if err := w.spill(); err != nil {
			c.batch.Release()
			return err
		}
		if !w.env.Memory.TryReserve(c.bytes) {
			w.held.add(c, 0)
			return w.spill()
		}
	}
	w.held.add(c, c.bytes)
	if w.held.bytes >= w.opt.BufferBytes {
		return w.spill()
	}
	return nil
}

// spill empties the memory. With one partition the output itself is the place.
func (w *Writer) spill() error {
	if len(w.held.chunks) == 0 {
		return nil
	}
	defer w.held.reset()
	if w.part.Partitions() == 1 {
		if err := w.out.create(); err != nil {
			return err
		}
		return w.drain(&w.out, 0)
	}
	if err := w.runs.begin(w.env, w.part.Partitions()); err != nil {
		return err
	}
	w.held.sort()
	before := w.runs.out.pos
	for p := range w.part.Partitions() {
		if err := w.drain(&w.runs.out, p); err != nil {
			return err
		}
	}
	if err := w.runs.end(); err != nil {
		return err
	}
	// The run's table lives on some of what its rows had.
	table := w.runs.tableBytes()
	if w.held.bytes >= table {
		w.held.bytes -= table
	} else if err := w.env.Memory.Reserve(table); err != nil {
		return err
	}
	w.runs.held += table
	w.env.Spilled(dataflow.SpillInfo{Operator: "shuffle", Rows: w.held.rows, Bytes: w.runs.out.pos - before})
	return nil
}

// drain writes partition p of what is in memory to out.
func (w *Writer) drain(out *output, p int) error {
	return w.held.frames(p, w.opt.FrameBytes, framer{out: out, enc: w.enc, p: p})
}

// A framer makes frames of one partition's rows.
type framer struct {
	out *output
	enc *block.Encoder
	p   int
}

// batch makes one, or several, of a batch.
func (f framer) batch(b dataflow.Batch) error { return f.out.write(f.enc, f.p, b) }

// runs makes one of rows of several batches, or says false where batch has to.
func (f framer) runs(batches []dataflow.Batch, runs []block.Run) (bool, error) {
	return f.out.writeRuns(f.enc, f.p, batches, runs)
}

// Seal writes everything and gives both files their names, the index last: an
// output without an index does not exist. With Keep, what is small stays in memory. It does not wait for the disk, because an
// output that a crash takes away is one that its task makes again.
func (w *Writer) Seal() (Sealed, error) {
	switch w.state {
	case done:
		return w.sealed, nil
	case aborted:
		return Sealed{}, &dataflow.Error{Op: "shuffle.Seal", Path: w.path, Kind: dataflow.Fatal, Err: errors.New("the output was aborted")}
	}
	if err := w.seal(); err != nil {
		return Sealed{}, errors.Join(err, w.Abort())
	}
	w.state = done
	return w.sealed, nil
}

func (w *Writer) seal() error {
	w.held.sort()
	for p := range w.part.Partitions() {
		if err := w.runs.copy(p, &w.out); err != nil {
			return err
		}
		if err := w.drain(&w.out, p); err != nil {
			return err
		}
	}
	w.held.reset()
	if err := w.runs.remove(); err != nil {
		return err
	}
	x, err := w.index()
	if err != nil || w.keep(x) {
		return err
	}
	return w.store(x)
}

// index makes the index and what Seal says of the output.
func (w *Writer) index() (*Index, error) {
	print, err := block.Fingerprint(w.schema)
	if err != nil {
		return nil, err
	}
	x := &Index{Schema: print, Entries: w.out.entries}
	w.sealed = Sealed{Path: w.path, Rows: w.rows, Bytes: w.out.pos, Hash: w.hash, Partitions: make([]PartStat, len(x.Entries))}
	var rows, pos int64
	for i := range x.Entries {
		x.Entries[i].Offset = pos
		pos += x.Entries[i].Bytes
		rows += x.Entries[i].Rows
		w.sealed.Partitions[i] = PartStat{Rows: x.Entries[i].Rows, Bytes: x.Entries[i].Bytes}
	}
	if rows != w.rows || pos != w.out.pos {
		return nil, &dataflow.Error{Op: "shuffle.Seal", Path: w.path, Kind: dataflow.Fatal,
			Err: fmt.Errorf("%d rows in %d bytes were written of %d rows", rows, pos, w.rows)}
	}
	return x, nil
}

// keep keeps the output in memory if it is small and there is room: in what the process
// keeps, and in the task's memory, where there is none under pressure.
func (w *Writer) keep(x *Index) bool {
	size := keptSize(len(w.out.buf), len(x.Entries))
	if !w.opt.Keep || w.out.file != nil || size > keptEach || !w.env.Memory.TryReserve(size) {
		return false
	}
	w.env.Memory.Release(size)
	if !kept.reserve(size) {
		return false
	}
	kept.put(w.path, keptOutput{x, slices.Clone(w.out.buf)})
	w.out.buf = nil
	return true
}

// store makes the output two files.
func (w *Writer) store(x *Index) error {
	if err := w.out.close(); err != nil {
		return err
	}
	index := IndexPath(w.path)
	if err := os.WriteFile(index+".tmp", x.encode(), 0o666); err != nil {
		return block.FileError("shuffle.Seal", index, err)
	}
	for _, name := range []string{DataPath(w.path), index} {
		if err := os.Rename(name+".tmp", name); err != nil {
			return block.FileError("shuffle.Seal", name, err)
		}
	}
	return nil
}

// Abort throws everything away. After Seal it does nothing: Remove deletes what
// was sealed.
func (w *Writer) Abort() error {
	if w.state != open {
		return nil
	}
	w.state = aborted
	w.held.reset()
	err := errors.Join(w.runs.remove(), w.out.discard(), Remove(w.path))
	if e := os.Remove(IndexPath(w.path) + ".tmp"); !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}
