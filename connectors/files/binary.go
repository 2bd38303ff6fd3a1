package files

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// RandomReader reads anywhere in an input's file, for libraries that seek. It
// remembers a failure of the store, so that Guard can tell it from a broken file.
type RandomReader struct {
	in  *Input
	pos int64
	err error
}

// NewRandomReader reads in's file, which must not be compressed as a whole.
func NewRandomReader(op string, in *Input) (*RandomReader, error) {
	if in.Codec != Plain {
		return nil, &dataflow.Error{Op: op, Path: in.Path, Kind: dataflow.User,
			Err: dataflow.Mark(fmt.Errorf("a file of this format cannot be read when it is compressed as a whole (%s)", in.Codec), errors.ErrUnsupported), Try: "decompress it; the format compresses by itself"}
	}
	return &RandomReader{in: in}, nil
}

// ReadAt implements io.ReaderAt.
func (r *RandomReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > r.in.Size {
		return 0, fmt.Errorf("offset %d lies outside of the file of %d bytes", off, r.in.Size)
	}
	short := int64(len(p)) > r.in.Size-off
	if short {
		p = p[:r.in.Size-off]
	}
	n, err := r.in.File.ReadAt(p, off)
	if n == len(p) {
		err = nil
	}
	if err != nil {
		r.err = err
	} else if short {
		err = io.EOF
	}
	return n, err
}

// Read implements io.Reader.
func (r *RandomReader) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (r *RandomReader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.pos
	case io.SeekEnd:
		off += r.in.Size
	}
	if off < 0 {
		return 0, errors.New("seek before the file's begin")
	}
	r.pos = off
	return off, nil
}

// Guard runs a decoder on bytes from outside: a panic and an error become one of
// kind User that wraps ErrMalformed and names the file, unless the store failed or
// the error has a kind already.
func (r *RandomReader) Guard(op string, decode func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = r.broken(op, fmt.Errorf("the decoder gave up: %w", p))
		default:
			err = r.broken(op, fmt.Errorf("the decoder gave up: %v", p))
		}
	}()
	if err = decode(); err != nil && err != io.EOF {
		return r.broken(op, err)
	}
	return err
}

// Unsupported is the error for a file that is not read for what is no fault of it; try
// says what to do.
func (r *RandomReader) Unsupported(op string, err error, try string) error {
	return &dataflow.Error{Op: op, Path: r.in.Path, Kind: dataflow.User, Err: dataflow.Mark(err, errors.ErrUnsupported), Try: try}
}

func (r *RandomReader) broken(op string, err error) error {
	if r.err != nil {
		return r.in.Fail(op, 0, r.err)
	}
	var known *dataflow.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, dataflow.ErrOutOfMemory) {
		return &dataflow.Error{Op: op, Path: r.in.Path, Kind: dataflow.OutOfMemory, Err: err, Try: "give the task host more with --memory, if the file is right"}
	}
	return &dataflow.Error{Op: op, Path: r.in.Path, Kind: dataflow.User, Err: fmt.Errorf("%w: %w", dataflow.ErrMalformed, err)}
}

// allocationMax is more than any buffer of a sane file needs.
const allocationMax = 1 << 30

// pieceMin is what any task may read at once.
const pieceMin = 16 << 20

// PieceMax is how large a part of a file may become that has to be in memory as a whole:
// most, or less where the task has less. A small file can claim anything.
func PieceMax(env *dataflow.Env, most int64) int64 {
	if env.Memory != nil {
		if limit := env.Memory.Limit(); limit > 0 {
			return min(most, max(limit, pieceMin))
		}
	}
	return most
}

// TooMuch is the error for a part of a file that would need n bytes, of which most are
// allowed: broken, where no task may have so much, else out of memory.
func TooMuch(env *dataflow.Env, n, most int64) error {
	limit := PieceMax(env, most)
	if n > most || n < 0 {
		return fmt.Errorf("the file asks for %d bytes at once", n)
	}
	return fmt.Errorf("%w: the file asks for %d bytes at once, the task's memory is %d", dataflow.ErrOutOfMemory, n, limit)
}

// Bounded is env's allocator, but panics, for Guard to catch, when a decoder asks for
// more than any sane file needs, or for more than the task has: sizes in a broken file
// are not to be believed.
func Bounded(env *dataflow.Env) memory.Allocator {
	return bounded{env.Alloc, env, PieceMax(env, allocationMax)}
}

type bounded struct {
	memory.Allocator
	env  *dataflow.Env
	most int64
}

func (b bounded) Allocate(size int) []byte {
	b.check(size)
	return b.Allocator.Allocate(size)
}

func (b bounded) Reallocate(size int, buf []byte) []byte {
	b.check(size)
	return b.Allocator.Reallocate(size, buf)
}

// Uncleared implements dataflow.Unclearer.
func (b bounded) Uncleared() memory.Allocator {
	if u, ok := b.Allocator.(dataflow.Unclearer); ok {
		b.Allocator = u.Uncleared()
	}
	return b
}

func (b bounded) check(size int) {
	if size < 0 || int64(size) > b.most {
		panic(TooMuch(b.env, int64(size), allocationMax))
	}
}

// WithoutMetadata is a schema's names, types and nullability.
func WithoutMetadata(s *arrow.Schema) *arrow.Schema {
	var fields []arrow.Field
	for _, f := range s.Fields() {
		fields = append(fields, arrow.Field{Name: f.Name, Type: f.Type, Nullable: f.Nullable})
	}
	return arrow.NewSchema(fields, nil)
}

// Places finds the columns of want in a file's own schema, by name and type; whether
// a nested value may be null is not compared. See Retype. A column that the file lacks
// and that may be null is at -1: all its values are null; but a file that has none of
// the columns is another's.
func Places(op, path string, have, want *arrow.Schema) ([]int, error) {
	var places []int
	var lacking error
	for _, f := range want.Fields() {
		i, err := ColumnIndex(op, have, f.Name)
		if err != nil && f.Nullable && !have.HasField(f.Name) {
			places, lacking = append(places, -1), err
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !alike(have.Field(i).Type, f.Type) {
			return nil, &dataflow.Error{Op: op, Path: path, Kind: dataflow.User,
				Err: dataflow.Mark(fmt.Errorf("column %s is %s, in the other files or the given schema it is %s", f.Name, have.Field(i).Type, f.Type), dataflow.ErrColumns)}
		}
		places = append(places, i)
	}
	if lacking != nil && !slices.ContainsFunc(places, func(i int) bool { return i >= 0 }) {
		return nil, fmt.Errorf("%s: %w", path, lacking)
	}
	return places, nil
}

// alike reports whether two types are equal but for what may be null inside.
func alike(a, b arrow.DataType) bool {
	if a.ID() != b.ID() {
		return false
	}
	na, ok := a.(arrow.NestedType)
	if !ok {
		return arrow.TypeEqual(a, b)
	}
	fa, fb := na.Fields(), b.(arrow.NestedType).Fields()
	if len(fa) != len(fb) {
		return false
	}
	for i := range fa {
		if a.ID() == arrow.STRUCT && fa[i].Name != fb[i].Name || !alike(fa[i].Type, fb[i].Type) {
			return false
		}
	}
	switch a.ID() {
	case arrow.STRUCT, arrow.LIST, arrow.LARGE_LIST, arrow.MAP:
		return true
	}
	return arrow.TypeEqual(a, b)
}

// Retype is a column as a field wants it, of a type that Places took: the same
// buffers under the field's type. A null where the field, or one inside it, says
// there is none is an error. The caller releases the result.
func Retype(col arrow.Array, f arrow.Field) (arrow.Array, error) {
	d, err := retype(col.Data(), f)
	if err != nil {
		return nil, err
	}
	defer d.Release()
	return array.MakeFromData(d), nil
}

func retype(d arrow.ArrayData, f arrow.Field) (arrow.ArrayData, error) {
	if !f.Nullable && d.NullN() != 0 && d.DataType().ID() != arrow.NULL {
		return nil, fmt.Errorf("a value of %s is null, and the schema says that none is", f.Name)
	}
	n, ok := f.Type.(arrow.NestedType)
	if !ok {
		d.Retain()
		return d, nil
	}
	var children []arrow.ArrayData
	defer func() {
		for _, c := range children {
			c.Release()
		}
	}()
	for i, inner := range n.Fields() {
		if i >= len(d.Children()) {
			break
		}
		if d.NullN() != 0 {
			inner.Nullable = true // what lies below a null is not looked at
		}
		c, err := retype(d.Children()[i], inner)
		if err != nil {
			return nil, err
		}
		children = append(children, c)
	}
	return array.NewData(f.Type, d.Len(), d.Buffers(), children, d.NullN(), d.Offset()), nil
}

// WithSchema is the rows of b under a schema of equal types, for encoders that
// insist on equal metadata too. The caller releases it.
func WithSchema(b dataflow.Batch, s *arrow.Schema) (dataflow.Batch, error) {
	if int(b.NumCols()) != s.NumFields() {
		return nil, fmt.Errorf("%d columns, the first batch had %d", b.NumCols(), s.NumFields())
	}
	for i, f := range s.Fields() {
		if !arrow.TypeEqual(f.Type, b.Column(i).DataType()) {
			return nil, fmt.Errorf("column %s is %s, in the first batch it was %s", f.Name, b.Column(i).DataType(), f.Type)
		}
	}
	return array.NewRecordBatch(s, b.Columns(), b.NumRows()), nil
}
