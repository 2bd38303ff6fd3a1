package files

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// A Format knows how records lie in a file. It is registered once, from init.
type Format interface {
	Name() string
	Summary() string // one line for the docs
	// Reader checks the options and returns what reads files under them.
	Reader(o ReadOptions) (Reader, error)
	// Writer checks the options and returns what writes parts under them.
	Writer(o WriteOptions) (Writer, error)
}

// ReadOptions are what a source says about its files.
type ReadOptions struct {
	Options json.RawMessage
	Schema  *arrow.Schema // nil: fixed by the format, or inferred
	Columns []string      // projection, in order; empty: all
	// Predicate is a condition that rows must fulfil to be of interest: a format may
	// leave others out, where that saves reading them. None: all are.
	Predicate expr.Expr
}

// A Reader reads files of one format under fixed options. It is immutable.
type Reader interface {
	// Schema is what every stream of Open yields, columns projected. sample opens
	// the whole first file, for formats that must look; it fails with an error
	// that wraps ErrNoInput where there is none. Whoever calls sample closes it.
	Schema(ctx context.Context, sample func() (*Input, error)) (*arrow.Schema, error)
	// Splittable reports whether Open takes byte ranges: it must then yield, over
	// any cut of a file into ranges, each record exactly once. A record belongs to
	// the range in which it begins. Compressed files are cut only for a LineReader.
	Splittable() bool
	// Open reads the records that belong to a range. schema is what Schema said.
	// The stream owns in, also when Open fails. It should implement
	// dataflow.Progresser and Locator, and Shrinker where a range can be cut short.
	Open(env *dataflow.Env, in *Input, schema *arrow.Schema) (dataflow.Stream, error)
}

// A LineReader is a Reader that may read lines, with Blocks that are told neither of
// records nor of cuts. Where it does, its compressed files are cut too, if their codec
// has parts that can be read alone.
type LineReader interface {
	ByLine() bool
}

// An Aligner is a Reader that cannot tell from inside of a file where records begin,
// but finds it out while splits are made. Where Aligns says so, plain files are cut,
// and Open is given ranges that begin and end where Align said.
type Aligner interface {
	Aligns() bool
	// Align finds for each offset, of which none is 0 and which ascend, where the first
	// record begins at it or behind it: the file's size if none does. in is the whole
	// file and stays the caller's.
	Align(ctx context.Context, in *Input, at []int64) ([]int64, error)
}

// A Shrinker is a stream over a range that can give away its end.
type Shrinker interface {
	// Shrink keeps about the given share (0..1) of what is not begun: the range
	// ends at the returned offset from now on. False when too little is left.
	// Called from any goroutine.
	Shrink(keep float64) (end int64, ok bool)
}

// WriteOptions are what a sink says about its parts.
type WriteOptions struct {
	Options json.RawMessage
}

// A Writer writes parts of one format under fixed options. It is immutable.
type Writer interface {
	// Suffix is what a part's name ends in, with its dot: ".csv", or "".
	Suffix() string
	// Compresses reports that the format compresses by itself and understands the
	// option "compression" as it likes; otherwise the sink compresses the bytes.
	Compresses() bool
	// Open begins a part. The schema is that of the first batch, or nil when a
	// part is sealed that never saw one.
	Open(env *dataflow.Env, w io.Writer, schema *arrow.Schema) (Encoder, error)
}

// An Encoder turns the batches of one part into bytes.
type Encoder interface {
	// Write encodes a batch, which stays the caller's.
	Write(b dataflow.Batch) error
	// Close writes what is left. It does not close what lies below.
	Close() error
}

// Buffered is an Encoder that keeps much of what it was given back before it writes it.
type Buffered interface {
	Buffered() int64 // about how many bytes
}

var formats = struct {
	sync.RWMutex
	m map[string]Format
}{m: map[string]Format{}}

// Register makes a format known; a second of a name panics.
func Register(f Format) {
	formats.Lock()
	defer formats.Unlock()
	if _, twice := formats.m[f.Name()]; twice {
		panic("files: two formats are called " + f.Name())
	}
	formats.m[f.Name()] = f
}

// LookupFormat finds a registered format.
func LookupFormat(name string) (Format, error) {
	formats.RLock()
	defer formats.RUnlock()
	if f, ok := formats.m[name]; ok {
		return f, nil
	}
	return nil, &dataflow.Error{Op: "files", Kind: dataflow.User,
		Err: fmt.Errorf("no format %q is linked in (have %s)", name, strings.Join(slices.Sorted(maps.Keys(formats.m)), ", "))}
}
