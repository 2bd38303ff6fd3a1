package dataflow

import (
	"reflect"
	"strings"
	"unsafe"
)

// A keeper makes values fit to be kept beyond the batch they came in, and says what
// they hold. It is worked out once per type. A value without strings, slices, maps
// and pointers needs none: its keeper is nil.
//
// What comes out of a batch points into it, so a kept string of ten bytes would
// hold on to a megabyte: own copies what is new in a value since old, nil for a
// value never owned. Entries of maps are not copied.
type keeper struct {
	own func(old, p unsafe.Pointer)
	// heap is about how many bytes hang on the value, beside its own size.
	heap func(p unsafe.Pointer) int64
}

// sampledElems bounds how many elements of a slice are looked at to estimate it.
const sampledElems = 4

func keeperOf(t reflect.Type) *keeper {
	switch {
	case t == timeType || t == decimalType:
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return &keeper{
			own: func(old, p unsafe.Pointer) {
				s := (*string)(p)
				if old == nil || unsafe.StringData(*(*string)(old)) != unsafe.StringData(*s) {
					*s = strings.Clone(*s)
				}
			},
			heap: func(p unsafe.Pointer) int64 { return int64(len(*(*string)(p))) },
		}
	case reflect.Slice:
		return keepSlice(t)
	case reflect.Map:
		each := int64(t.Key().Size()+t.Elem().Size()) + 16
		return &keeper{
			own: func(old, p unsafe.Pointer) {},
			heap: func(p unsafe.Pointer) int64 {
				return each * int64(reflect.NewAt(t, p).Elem().Len())
			},
		}
	case reflect.Pointer:
		return keepPointer(t)
	case reflect.Struct:
		return keepStruct(t)
	}
	return nil
}

func keepSlice(t reflect.Type) *keeper {
	elem, size := keeperOf(t.Elem()), t.Elem().Size()
	return &keeper{
		own: func(old, p unsafe.Pointer) {
			s, done := (*sliceHead)(p), 0
			switch {
			case old == nil && s.len > 0:
				c := reflect.MakeSlice(t, s.len, s.len)
				reflect.Copy(c, reflect.NewAt(t, p).Elem())
				*s = sliceHead{c.UnsafePointer(), s.len, s.len}
			case old != nil && s.data == (*sliceHead)(old).data:
				done = min(s.len, (*sliceHead)(old).len) // appended in place
			}
			if elem == nil {
				return
			}
			for i := done; i < s.len; i++ {
				var was unsafe.Pointer
				if old != nil && i < (*sliceHead)(old).len {
					was = unsafe.Add((*sliceHead)(old).data, uintptr(i)*size)
				}
				elem.own(was, unsafe.Add(s.data, uintptr(i)*size))
			}
		},
		heap: func(p unsafe.Pointer) int64 {
			s := (*sliceHead)(p)
			n := int64(s.cap) * int64(size)
			if elem == nil || s.len == 0 {
				return n
			}
			var some int64
			looked := min(s.len, sampledElems)
			for i := range looked {
				some += elem.heap(unsafe.Add(s.data, uintptr(i)*size))
			}
			return n + some*int64(s.len)/int64(looked)
		},
	}
}

func keepPointer(t reflect.Type) *keeper {
	elem, size := keeperOf(t.Elem()), int64(t.Elem().Size())
	return &keeper{
		own: func(old, p unsafe.Pointer) {
			v := *(*unsafe.Pointer)(p)
			if v == nil || old != nil && v == *(*unsafe.Pointer)(old) {
				return
			}
			c := reflect.New(t.Elem())
			c.Elem().Set(reflect.NewAt(t.Elem(), v).Elem())
			*(*unsafe.Pointer)(p) = c.UnsafePointer()
			if elem != nil {
				elem.own(nil, c.UnsafePointer())
			}
		},
		heap: func(p unsafe.Pointer) int64 {
			v := *(*unsafe.Pointer)(p)
			switch {
			case v == nil:
				return 0
			case elem == nil:
				return size
			}
			return size + elem.heap(v)
		},
	}
}

func keepStruct(t reflect.Type) *keeper {
	type field struct {
		offset uintptr
		*keeper
	}
	var fields []field
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("df") == "-" {
			continue
		}
		if k := keeperOf(t.Field(i).Type); k != nil {
			fields = append(fields, field{t.Field(i).Offset, k})
		}
	}
	if fields == nil {
		return nil
	}
	return &keeper{
		own: func(old, p unsafe.Pointer) {
			for _, f := range fields {
				was := old
				if old != nil {
					was = unsafe.Add(old, f.offset)
				}
				f.own(was, unsafe.Add(p, f.offset))
			}
		},
		heap: func(p unsafe.Pointer) (n int64) {
			for _, f := range fields {
				n += f.heap(unsafe.Add(p, f.offset))
			}
			return n
		},
	}
}

// kept accounts for what the values of a table hold.
type kept[V any] struct {
	*keeper
	b    *budget
	held int64
	old  V // the value before it was changed
	size int64
}

func newKept[V any](b *budget) kept[V] {
	return kept[V]{keeper: keeperOf(reflect.TypeFor[V]()), b: b}
}

// before is called before a value is changed or, fresh, first set.
func (k *kept[V]) before(v *V, fresh bool) {
	if fresh {
		k.size = -1
		return
	}
	k.old = *v
	k.size = k.heap(unsafe.Pointer(v))
}

// after is called when it was; false says that the budget does not bear it.
func (k *kept[V]) after(v *V) bool {
	if k.size < 0 {
		k.size = 0
		k.own(nil, unsafe.Pointer(v))
	} else {
		k.own(unsafe.Pointer(&k.old), unsafe.Pointer(v))
	}
	more := k.heap(unsafe.Pointer(v)) - k.size
	if more <= 0 {
		more = max(more, -k.held)
		k.b.shrink(-more)
	} else if !k.b.grow(more) {
		return false
	}
	k.held += more
	return true
}

// reset is called when the table was emptied.
func (k *kept[V]) reset() {
	k.b.shrink(k.held)
	k.held = 0
}
