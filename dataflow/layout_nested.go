package dataflow

import (
	"cmp"
	"reflect"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

func structLayout(fields []structField) *layout {
	af := make([]arrow.Field, len(fields))
	keys, ordered := true, true
	for i, f := range fields {
		af[i] = f.field(f.name)
		keys = keys && f.hash != nil
		ordered = ordered && f.cmp != nil
	}
	t := arrow.StructOf(af...)
	l := &layout{
		typ:    t,
		fields: fields,
		column: func(w *columns) column {
			c := &structColumn{base: base{w: w, typ: t}}
			for _, f := range fields {
				c.fields = append(c.fields, f.column(w))
			}
			return c
		},
		put: func(c column) func(unsafe.Pointer) {
			s := c.(*structColumn)
			all := putFields(fields, s.fields)
			return func(p unsafe.Pointer) { all(p); s.n++ }
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			s := a.(*array.Struct)
			cols := make([]arrow.Array, len(fields))
			for i := range cols {
				cols[i] = s.Field(i)
			}
			return getFields(fields, cols)
		},
	}
	if keys {
		l.hash = func(p unsafe.Pointer, seed uint64) uint64 {
			for i := range fields {
				seed = fields[i].hash(unsafe.Add(p, fields[i].offset), seed)
			}
			return seed
		}
	}
	if ordered {
		l.cmp = func(p, q unsafe.Pointer) int {
			for i := range fields {
				if c := fields[i].cmp(unsafe.Add(p, fields[i].offset), unsafe.Add(q, fields[i].offset)); c != 0 {
					return c
				}
			}
			return 0
		}
	}
	return l
}

// putFields appends a struct's fields to their columns. One and two are the
// common case (a Pair): no loop.
func putFields(fields []structField, cols []column) func(unsafe.Pointer) {
	puts := make([]func(unsafe.Pointer), len(fields))
	for i, f := range fields {
		puts[i] = f.put(cols[i])
	}
	switch len(fields) {
	case 1:
		p0, o0 := puts[0], fields[0].offset
		return func(p unsafe.Pointer) { p0(unsafe.Add(p, o0)) }
	case 2:
		p0, o0, p1, o1 := puts[0], fields[0].offset, puts[1], fields[1].offset
		return func(p unsafe.Pointer) { p0(unsafe.Add(p, o0)); p1(unsafe.Add(p, o1)) }
	}
	return func(p unsafe.Pointer) {
		for i := range fields {
			puts[i](unsafe.Add(p, fields[i].offset))
		}
	}
}

// getFields reads a struct's fields from their columns.
func getFields(fields []structField, cols []arrow.Array) func(int, unsafe.Pointer) {
	gets := make([]func(int, unsafe.Pointer), len(fields))
	for i, f := range fields {
		gets[i] = f.get(cols[i])
	}
	switch len(fields) {
	case 1:
		g0, o0 := gets[0], fields[0].offset
		return func(i int, p unsafe.Pointer) { g0(i, unsafe.Add(p, o0)) }
	case 2:
		g0, o0, g1, o1 := gets[0], fields[0].offset, gets[1], fields[1].offset
		return func(i int, p unsafe.Pointer) { g0(i, unsafe.Add(p, o0)); g1(i, unsafe.Add(p, o1)) }
	}
	return func(i int, p unsafe.Pointer) {
		for k := range fields {
			gets[k](i, unsafe.Add(p, fields[k].offset))
		}
	}
}

// A slab hands out room for values of one type, each once, so that what a record
// points to is its own and stays good for as long as the author keeps it.
type slab struct {
	typ  reflect.Type // of a slice of the elements
	size uintptr
	base unsafe.Pointer
	left int
	next int // elements of the next piece
}

func newSlab(elem reflect.Type) *slab {
	return &slab{typ: reflect.SliceOf(elem), size: elem.Size(), next: 8}
}

// take is the address of n fresh, zero elements that lie side by side.
func (s *slab) take(n int) unsafe.Pointer {
	if n > s.left {
		room := max(n, s.next)
		s.next = min(2*s.next, max(8, 16<<10/int(max(1, s.size))))
		s.base = reflect.MakeSlice(s.typ, room, room).UnsafePointer()
		s.left = room
	}
	p := s.base
	s.left -= n
	if s.left > 0 {
		s.base = unsafe.Add(s.base, uintptr(n)*s.size)
	}
	return p
}

func pointerLayout(t reflect.Type, elem *layout) *layout {
	l := &layout{
		typ: elem.typ, nullable: true, fields: elem.fields,
		column: elem.column,
		put: func(c column) func(unsafe.Pointer) {
			put := elem.put(c)
			return func(p unsafe.Pointer) {
				if v := *(*unsafe.Pointer)(p); v != nil {
					put(v)
					return
				}
				c.null()
			}
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			get := elem.get(a)
			room := newSlab(t.Elem())
			return func(i int, p unsafe.Pointer) {
				if a.IsNull(i) {
					*(*unsafe.Pointer)(p) = nil
					return
				}
				v := room.take(1)
				get(i, v)
				*(*unsafe.Pointer)(p) = v
			}
		},
	}
	if elem.cmp != nil {
		l.cmp = func(p, q unsafe.Pointer) int {
			a, b := *(*unsafe.Pointer)(p), *(*unsafe.Pointer)(q)
			if a == nil || b == nil {
				return cmp.Compare(btoi(a != nil), btoi(b != nil))
			}
			return elem.cmp(a, b)
		}
	}
	return l
}

// width is about what a value takes where it has no length of its own to count.
func (l *layout) width() int {
	if f, ok := l.typ.(arrow.FixedWidthDataType); ok {
		return max(1, f.BitWidth()/8)
	}
	if l.fields != nil {
		n := 0
		for _, f := range l.fields {
			n += f.width()
		}
		return n
	}
	return 4
}

// sliceHead is how a slice lies in memory.
type sliceHead struct {
	data     unsafe.Pointer
	len, cap int
}

func listLayout(t reflect.Type, elem *layout) *layout {
	at := arrow.ListOfField(elem.field("item"))
	size := t.Elem().Size()
	return &layout{
		typ: at,
		column: func(w *columns) column {
			return &listColumn{base: base{w: w, typ: at}, ends: fixedColumn[int32]{base: base{w: w}}, elem: elem.column(w), each: elem.width()}
		},
		put: func(c column) func(unsafe.Pointer) {
			l := c.(*listColumn)
			put := elem.put(l.elem)
			return func(p unsafe.Pointer) {
				s := (*sliceHead)(p)
				l.open()
				for i := range s.len {
					put(unsafe.Add(s.data, uintptr(i)*size))
				}
				l.close()
			}
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			ends, kids := listValues(a)
			get := elem.get(kids)
			room := newSlab(t.Elem())
			return func(i int, p unsafe.Pointer) {
				from, n := int(ends[i]), int(ends[i+1]-ends[i])
				if n == 0 {
					*(*sliceHead)(p) = sliceHead{}
					return
				}
				data := room.take(n)
				for k := range n {
					get(from+k, unsafe.Add(data, uintptr(k)*size))
				}
				*(*sliceHead)(p) = sliceHead{data, n, n}
			}
		},
	}
}

// listValues is where each list of an array ends, and all elements.
func listValues(a arrow.Array) ([]int32, arrow.Array) {
	var kids arrow.Array
	switch l := a.(type) {
	case *array.Map:
		kids = l.ListValues()
	case *array.List:
		kids = l.ListValues()
	}
	d := a.Data()
	if d.Len() == 0 {
		return nil, kids
	}
	o := d.Buffers()[1].Bytes()
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(o))), d.Offset()+d.Len()+1)[d.Offset():], kids
}
