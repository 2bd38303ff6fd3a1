package arrow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
)

// The metadata is FlatBuffers: tables that point at tables, vectors and strings by
// offset. A reader that believes a vector's length allocates what it says, and that
// cannot be caught, so the parts from which the library allocates are walked here
// first: the schema's fields, their children, and their key-value pairs.

const magic = "ARROW1"

var errMetadata = errors.New("its metadata points outside of itself")

// checkSchema walks the schema of a file, or of a stream, and says which it is.
func checkSchema(r io.ReaderAt, size int64) (isFile bool, err error) {
	var head [8]byte
	if size < int64(len(head)) {
		return false, fmt.Errorf("%d bytes are neither an Arrow file nor a stream", size)
	}
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return false, err
	}
	at, n := int64(8), int64(0)
	switch {
	case string(head[:6]) == magic:
		var tail [10]byte
		if size < 8+int64(len(tail)) {
			return true, errors.New("the file is cut short")
		}
		if _, err := r.ReadAt(tail[:], size-int64(len(tail))); err != nil {
			return true, err
		}
		if string(tail[4:]) != magic {
			return true, fmt.Errorf("it ends in %q instead of %q", tail[4:], magic)
		}
		isFile, n = true, int64(binary.LittleEndian.Uint32(tail[:]))
		at = size - int64(len(tail)) - n
	case binary.LittleEndian.Uint32(head[:]) == 0xffffffff:
		n = int64(binary.LittleEndian.Uint32(head[4:]))
	default: // streams from before version 0.15 have no marker
		n = int64(binary.LittleEndian.Uint32(head[:]))
		at = 4
	}
	if n <= 0 || n > metadataMax || at < 4 || at+n > size {
		return isFile, fmt.Errorf("it claims %d bytes of metadata at %d of %d bytes", n, at, size)
	}
	buf := make([]byte, n)
	if _, err := r.ReadAt(buf, at); err != nil && err != io.EOF {
		return isFile, err
	}
	w := walker{buf: buf, left: len(buf)}
	root, ok := w.deref(0)
	schemaField := 1 // of a footer
	if !isFile {
		schemaField = 2 // a message's header
	}
	if !ok || !w.schema(root, schemaField) {
		return isFile, errMetadata
	}
	return isFile, nil
}

// walker reads tables within bounds; left bounds how many it visits in all, so that
// tables which share others cannot make it run for ever.
type walker struct {
	buf  []byte
	left int
}

func (w *walker) u32(at int) (int, bool) {
	if at < 0 || at > len(w.buf)-4 {
		return 0, false
	}
	v := binary.LittleEndian.Uint32(w.buf[at:])
	return int(v), v < 1<<31
}

func (w *walker) deref(at int) (int, bool) {
	off, ok := w.u32(at)
	return at + off, ok && at+off < len(w.buf)
}

// field is where field i of a table lies; 0 where it is absent.
func (w *walker) field(table, i int) (int, bool) {
	back, ok := w.u32(table)
	if !ok { // a negative offset: the vtable lies behind
		if table > len(w.buf)-4 || table < 0 {
			return 0, false
		}
		back = int(int32(binary.LittleEndian.Uint32(w.buf[table:])))
	}
	vtable := table - back
	if vtable < 0 || vtable > len(w.buf)-4 {
		return 0, false
	}
	size := int(binary.LittleEndian.Uint16(w.buf[vtable:]))
	if slot := 4 + 2*i; slot >= size { // as the library has it
		return 0, true
	} else if vtable+slot+2 > len(w.buf) {
		return 0, false
	} else if off := int(binary.LittleEndian.Uint16(w.buf[vtable+slot:])); off != 0 {
		return table + off, table+off < len(w.buf)
	}
	return 0, true
}

// vector visits the tables of the vector in a table's field.
func (w *walker) vector(table, i int, visit func(table int) bool) bool {
	at, ok := w.field(table, i)
	if !ok || at == 0 {
		return ok
	}
	at, ok = w.deref(at)
	if !ok {
		return false
	}
	n, ok := w.u32(at)
	if !ok || n > (len(w.buf)-at-4)/4 {
		return false
	}
	for k := range n {
		t, ok := w.deref(at + 4 + 4*k)
		if w.left--; !ok || w.left < 0 || !visit(t) {
			return false
		}
	}
	return true
}

func (w *walker) schema(root, i int) bool {
	at, ok := w.field(root, i)
	if !ok || at == 0 {
		return false
	}
	table, ok := w.deref(at)
	return ok && w.vector(table, 1, func(t int) bool { return w.column(t, 0) }) && w.vector(table, 2, w.pair)
}

func (w *walker) column(table, depth int) bool {
	if depth > 64 {
		return false
	}
	return w.text(table, 0) &&
		w.vector(table, 5, func(t int) bool { return w.column(t, depth+1) }) && w.vector(table, 6, w.pair)
}

func (w *walker) pair(table int) bool { return w.text(table, 0) && w.text(table, 1) }

func (w *walker) text(table, i int) bool {
	at, ok := w.field(table, i)
	if !ok || at == 0 {
		return ok
	}
	if at, ok = w.deref(at); !ok {
		return false
	}
	n, ok := w.u32(at)
	return ok && n <= len(w.buf)-at-4
}

// checkType refuses types whose arrays files.CheckArray does not know.
func checkType(dt arrow.DataType) error {
	switch t := dt.(type) {
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if err := checkType(f.Type); err != nil {
				return err
			}
		}
		return nil
	case *arrow.ListType, *arrow.LargeListType, *arrow.MapType:
		return checkType(dt.(arrow.ListLikeType).Elem())
	case *arrow.DictionaryType:
		return checkType(t.ValueType)
	case *arrow.FixedSizeBinaryType:
		if t.ByteWidth < 0 {
			return fmt.Errorf("values of %d bytes", t.ByteWidth)
		}
		return nil
	case arrow.DecimalType: // tables of powers are indexed by these
		if p, s := t.GetPrecision(), t.GetScale(); p <= 0 || p > 76 || s < -p || s > p {
			return fmt.Errorf("%s cannot be", dt)
		}
		return nil
	case *arrow.NullType, *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		return nil
	case arrow.ExtensionType:
		return fmt.Errorf("values of type %s are not read", dt)
	case arrow.FixedWidthDataType:
		if _, list := dt.(arrow.ListLikeType); !list {
			return nil
		}
	}
	return fmt.Errorf("values of type %s are not read", dt)
}
