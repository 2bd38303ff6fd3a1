package dataflow

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
)

// A layout is how a Go type lies in an Arrow column: the column's type, and how
// one value goes in, comes out and is hashed. It is worked out once per type, when
// the graph is built, by reflection; what it hands out (small functions over
// addresses) does not reflect per record, but for the rarer kinds of map.
//
//	bool, ints, uints, floats     their Arrow namesakes (int: int64, uint: uint64)
//	string                        utf8, bytes kept as they are
//	[]byte                        binary; [N]byte: fixed size binary
//	struct                        struct, exported fields in order
//	[]T                           list; map[K]V: map
//	*T                            nullable T
//	time.Time                     timestamp in ns, UTC; the zero time is null
//	Decimal                       decimal128, decimal(38,9) or as the field's tag says
//
// Empty and nil slices and maps are one: what comes back is nil.
type layout struct {
	goType   reflect.Type
	typ      arrow.DataType
	nullable bool
	fields   []structField // of a struct

	column func(w *columns) column
	// put makes the function that appends the value at an address.
	put func(c column) func(p unsafe.Pointer)
	// get makes the function that writes row i of an array to an address.
	get func(a arrow.Array) func(i int, p unsafe.Pointer)
	// hash is nil where values cannot be looked up: they hold pointers.
	hash func(p unsafe.Pointer, seed uint64) uint64
	// cmp orders as the engine's sort does: absent first, minus zero is zero, NaN
	// behind all numbers, structs by their fields in turn. It is nil where values
	// have no order.
	cmp func(p, q unsafe.Pointer) int
}

type structField struct {
	name   string
	offset uintptr
	*layout
}

// field is the Arrow field that a value of this layout makes.
func (l *layout) field(name string) arrow.Field {
	return arrow.Field{Name: name, Type: l.typ, Nullable: l.nullable}
}

// An int is a column of int64 and lies as one: on 64-bit machines only, which this
// line asserts.
var _ [unsafe.Sizeof(int(0)) - 8]struct{}

// A mapper works out one type; path says where in it we are, for messages.
type mapper struct {
	above []reflect.Type // structs we are inside of
}

var (
	timeType    = reflect.TypeFor[time.Time]()
	decimalType = reflect.TypeFor[Decimal]()
)

// layoutOf maps a type, or says why it cannot be mapped.
func layoutOf(t reflect.Type) (*layout, error) {
	return (&mapper{}).of(t, t.String(), "")
}

func (m *mapper) of(t reflect.Type, path, opts string) (*layout, error) {
	switch {
	case t == timeType:
		return timeLayout(), nil
	case t == decimalType:
		return decimalLayout(path, opts)
	case opts != "":
		return nil, fmt.Errorf("%s: tag option %q means nothing for %s", path, opts, t)
	}
	l, err := m.kind(t, path)
	if err != nil {
		return nil, err
	}
	l.goType = t
	return l, nil
}

func (m *mapper) kind(t reflect.Type, path string) (*layout, error) {
	switch t.Kind() {
	case reflect.Bool:
		return boolLayout(), nil
	case reflect.Int8:
		return fixedLayout[int8](arrow.PrimitiveTypes.Int8), nil
	case reflect.Int16:
		return fixedLayout[int16](arrow.PrimitiveTypes.Int16), nil
	case reflect.Int32:
		return fixedLayout[int32](arrow.PrimitiveTypes.Int32), nil
	case reflect.Int, reflect.Int64:
		return fixedLayout[int64](arrow.PrimitiveTypes.Int64), nil
	case reflect.Uint8:
		return fixedLayout[uint8](arrow.PrimitiveTypes.Uint8), nil
	case reflect.Uint16:
		return fixedLayout[uint16](arrow.PrimitiveTypes.Uint16), nil
	case reflect.Uint32:
		return fixedLayout[uint32](arrow.PrimitiveTypes.Uint32), nil
	case reflect.Uint, reflect.Uint64:
		return fixedLayout[uint64](arrow.PrimitiveTypes.Uint64), nil
	case reflect.Float32:
		return floatLayout[float32](arrow.PrimitiveTypes.Float32), nil
	case reflect.Float64:
		return floatLayout[float64](arrow.PrimitiveTypes.Float64), nil
	case reflect.String:
		return stringLayout(), nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return bytesLayout(), nil
		}
		return m.list(t, path)
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && t.Len() > 0 {
			return fixedBytesLayout(t.Len()), nil
		}
	case reflect.Map:
		return m.mapOf(t, path)
	case reflect.Pointer:
		return m.pointer(t, path)
	case reflect.Struct:
		return m.structure(t, path)
	}
	return nil, fmt.Errorf("%s: %s cannot be a column (use a basic type, struct, slice, map, pointer, [N]byte, time.Time or Decimal)", path, t)
}

func (m *mapper) structure(t reflect.Type, path string) (*layout, error) {
	for _, a := range m.above {
		if a == t {
			return nil, fmt.Errorf("%s: %s contains itself, so its columns have no end", path, t)
		}
	}
	m.above = append(m.above, t)
	defer func() { m.above = m.above[:len(m.above)-1] }()

	var fields []structField
	names := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("df"), ",")
		if name == "-" {
			continue
		}
		if !f.IsExported() {
			return nil, fmt.Errorf("%s.%s: the field is not exported (export it, or leave it out with the tag `df:\"-\"`)", path, f.Name)
		}
		if name == "" {
			name = f.Name
		}
		if names[name] {
			return nil, fmt.Errorf("%s.%s: two fields are called %q", path, f.Name, name)
		}
		names[name] = true
		l, err := m.of(f.Type, path+"."+f.Name, opts)
		if err != nil {
			return nil, err
		}
		fields = append(fields, structField{name, f.Offset, l})
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf("%s: %s has no exported fields, so it has no columns", path, t)
	}
	return structLayout(fields), nil
}

func (m *mapper) list(t reflect.Type, path string) (*layout, error) {
	elem, err := m.of(t.Elem(), path+"[]", "")
	if err != nil {
		return nil, err
	}
	return listLayout(t, elem), nil
}

func (m *mapper) mapOf(t reflect.Type, path string) (*layout, error) {
	key, err := m.of(t.Key(), path+"[key]", "")
	if err != nil {
		return nil, err
	}
	if key.hash == nil || key.nullable {
		return nil, fmt.Errorf("%s: %s cannot be the key of a map column", path, t.Key())
	}
	value, err := m.of(t.Elem(), path+"[value]", "")
	if err != nil {
		return nil, err
	}
	return mapLayout(t, key, value), nil
}

func (m *mapper) pointer(t reflect.Type, path string) (*layout, error) {
	elem, err := m.of(t.Elem(), path, "")
	if err != nil {
		return nil, err
	}
	if elem.nullable {
		return nil, fmt.Errorf("%s: %s points to what can be null already", path, t)
	}
	return pointerLayout(t, elem), nil
}
