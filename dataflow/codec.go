package dataflow

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// valueColumn is the column of a dataset whose rows are not structs.
const valueColumn = "value"

// A codec turns values of T into batches and back. A struct's fields are the
// columns; anything else is the one column "value".
//
// A string or byte slice that comes out of a batch is part of the batch's memory,
// not a copy. The batch was allocated on Go's heap and is never used again, so
// what the author keeps stays good for ever; byte slices must not be changed.
type codec[T any] struct {
	*layout
	schema *arrow.Schema
	asRow  bool // the fields are columns
}

func codecOf[T any]() (*codec[T], error) {
	l, err := layoutOf(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	c := &codec[T]{layout: l}
	if c.asRow = l.fields != nil && l.goType.Kind() == reflect.Struct; c.asRow {
		var fields []arrow.Field
		for _, f := range l.fields {
			fields = append(fields, f.field(f.name))
		}
		c.schema = arrow.NewSchema(fields, nil)
	} else {
		c.schema = arrow.NewSchema([]arrow.Field{l.field(valueColumn)}, nil)
	}
	return c, nil
}

// accepts says whether rows of s can be read as T: the same columns in the same
// places, whatever their names and promises about nulls.
func (c *codec[T]) accepts(s *arrow.Schema) error {
	if s.NumFields() != c.schema.NumFields() {
		return fmt.Errorf("%s has %d columns, the input %d", reflect.TypeFor[T](), c.schema.NumFields(), s.NumFields())
	}
	return c.acceptsFrom(s, 0)
}

// acceptsFrom is accepts where T's columns begin at skip and others may follow.
func (c *codec[T]) acceptsFrom(s *arrow.Schema, skip int) error {
	if s.NumFields() < skip+c.schema.NumFields() {
		return fmt.Errorf("%s needs %d columns from number %d on, the input has %d", reflect.TypeFor[T](), c.schema.NumFields(), skip, s.NumFields())
	}
	for i, f := range c.schema.Fields() {
		if in := s.Field(skip + i); !sameType(f.Type, in.Type) {
			return fmt.Errorf("%s wants column %d (%s) to be %s, the input has %s", reflect.TypeFor[T](), skip+i, f.Name, f.Type, in.Type)
		}
	}
	return nil
}

// sameType compares without names and nullability of nested fields.
func sameType(a, b arrow.DataType) bool {
	if a.ID() != b.ID() {
		return false
	}
	an, nested := a.(arrow.NestedType)
	if !nested {
		return arrow.TypeEqual(a, b)
	}
	bn := b.(arrow.NestedType)
	if an.NumFields() != bn.NumFields() {
		return false
	}
	for i, f := range an.Fields() {
		if !sameType(f.Type, bn.Fields()[i].Type) {
			return false
		}
	}
	return true
}

// A rowWriter gathers values into a batch.
type rowWriter[T any] struct {
	columns
	codec    *codec[T]
	cols     []column
	put      func(unsafe.Pointer)
	slot     T // where put finds the value: an address that is the writer's own
	n        int
	maxRows  int
	maxBytes int
}

func (c *codec[T]) writer(env *Env) *rowWriter[T] {
	w := &rowWriter[T]{codec: c, columns: columns{mem: env.Alloc}, maxBytes: env.BatchBytes}
	w.maxRows = max(1, min(env.BatchRows, env.BatchBytes/c.width()))
	if c.asRow {
		for _, f := range c.fields {
			w.cols = append(w.cols, f.column(&w.columns))
		}
		w.put = putFields(c.fields, w.cols)
	} else {
		col := c.column(&w.columns)
		w.cols, w.put = []column{col}, c.layout.put(col)
	}
	return w
}

// append takes a value and says whether the batch is full.
func (w *rowWriter[T]) append(v T) bool {
	w.slot = v
	w.put(unsafe.Pointer(&w.slot))
	return w.added()
}

// added counts a row that was put into the columns and says whether the batch is full.
func (w *rowWriter[T]) added() bool {
	w.n++
	return w.n >= w.maxRows || w.bytes >= w.maxBytes
}

// batch is all that was appended; the writer is empty again.
func (w *rowWriter[T]) batch() Batch {
	arrs := make([]arrow.Array, len(w.cols))
	for i, c := range w.cols {
		d := c.take()
		arrs[i] = array.MakeFromData(d)
		d.Release()
	}
	b := array.NewRecordBatch(w.codec.schema, arrs, int64(w.n))
	for _, a := range arrs {
		a.Release()
	}
	w.n, w.bytes = 0, 0
	return b
}

func (w *rowWriter[T]) drop() {
	for _, c := range w.cols {
		c.drop()
	}
	w.n, w.bytes = 0, 0
}

// reader makes the function that writes row i of b to an address.
func (c *codec[T]) reader(b Batch) func(i int, p unsafe.Pointer) { return c.readerFrom(b, 0) }

// readerFrom is reader where T's columns begin at skip.
func (c *codec[T]) readerFrom(b Batch, skip int) func(i int, p unsafe.Pointer) {
	if c.asRow {
		return getFields(c.fields, b.Columns()[skip:])
	}
	return c.get(b.Column(skip))
}

// describe shows a row for an error message.
func (c *codec[T]) describe(b Batch, row int) string { return c.describeFrom(b, row, 0) }

func (c *codec[T]) describeFrom(b Batch, row, skip int) string {
	v := new(T)
	c.readerFrom(b, skip)(row, unsafe.Pointer(v))
	var s string
	switch x := any(*v).(type) {
	case string:
		s = x
	case []byte:
		s = string(x[:min(len(x), recordShown+1)])
	default:
		s = fmt.Sprintf("%+v", x)
	}
	if len(s) > recordShown {
		return fmt.Sprintf("%q...", s[:recordShown])
	}
	return fmt.Sprintf("%q", s)
}

const recordShown = 256
