package dataflow

import (
	"reflect"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// mapLayout stores a map as a list of entries, in no order. Maps from strings or
// ints to basic types are read and written without reflection; others reflect,
// once per entry.
func mapLayout(t reflect.Type, key, value *layout) *layout {
	at := arrow.MapOfFields(key.field("key"), value.field("value"))
	l := &layout{
		typ: at,
		column: func(w *columns) column {
			entries := &structColumn{base: base{w: w, typ: at.Elem()}, fields: []column{key.column(w), value.column(w)}}
			return &listColumn{base: base{w: w, typ: at}, ends: fixedColumn[int32]{base: base{w: w}}, elem: entries, each: key.width() + value.width()}
		},
	}
	switch t {
	case reflect.TypeFor[map[string]string]():
		typedMap[string, string](l, key, value)
	case reflect.TypeFor[map[string]int]():
		typedMap[string, int](l, key, value)
	case reflect.TypeFor[map[string]int64]():
		typedMap[string, int64](l, key, value)
	case reflect.TypeFor[map[string]float64]():
		typedMap[string, float64](l, key, value)
	case reflect.TypeFor[map[string]bool]():
		typedMap[string, bool](l, key, value)
	case reflect.TypeFor[map[int]string]():
		typedMap[int, string](l, key, value)
	case reflect.TypeFor[map[int]int]():
		typedMap[int, int](l, key, value)
	case reflect.TypeFor[map[int64]string]():
		typedMap[int64, string](l, key, value)
	case reflect.TypeFor[map[int64]int64]():
		typedMap[int64, int64](l, key, value)
	case reflect.TypeFor[map[int64]float64]():
		typedMap[int64, float64](l, key, value)
	default:
		anyMap(t, l, key, value)
	}
	return l
}

func typedMap[K comparable, V any](l, key, value *layout) {
	l.put = func(c column) func(unsafe.Pointer) {
		m := c.(*listColumn)
		entries := m.elem.(*structColumn)
		putKey, putValue := key.put(entries.fields[0]), value.put(entries.fields[1])
		slot := new(Pair[K, V])
		return func(p unsafe.Pointer) {
			m.open()
			for slot.Key, slot.Value = range *(*map[K]V)(p) {
				putKey(unsafe.Pointer(&slot.Key))
				putValue(unsafe.Pointer(&slot.Value))
				entries.n++
			}
			m.close()
		}
	}
	l.get = func(a arrow.Array) func(int, unsafe.Pointer) {
		ends, kids := listValues(a)
		getKey, getValue := key.get(kids.(*array.Struct).Field(0)), value.get(kids.(*array.Struct).Field(1))
		slot := new(Pair[K, V])
		return func(i int, p unsafe.Pointer) {
			from, to := int(ends[i]), int(ends[i+1])
			if from == to {
				*(*map[K]V)(p) = nil
				return
			}
			m := make(map[K]V, to-from)
			for ; from < to; from++ {
				getKey(from, unsafe.Pointer(&slot.Key))
				getValue(from, unsafe.Pointer(&slot.Value))
				m[slot.Key] = slot.Value
			}
			*(*map[K]V)(p) = m
		}
	}
}

func anyMap(t reflect.Type, l, key, value *layout) {
	l.put = func(c column) func(unsafe.Pointer) {
		m := c.(*listColumn)
		entries := m.elem.(*structColumn)
		putKey, putValue := key.put(entries.fields[0]), value.put(entries.fields[1])
		k, v := reflect.New(t.Key()), reflect.New(t.Elem())
		return func(p unsafe.Pointer) {
			m.open()
			for it := reflect.NewAt(t, p).Elem().MapRange(); it.Next(); {
				k.Elem().SetIterKey(it)
				v.Elem().SetIterValue(it)
				putKey(k.UnsafePointer())
				putValue(v.UnsafePointer())
				entries.n++
			}
			m.close()
		}
	}
	l.get = func(a arrow.Array) func(int, unsafe.Pointer) {
		ends, kids := listValues(a)
		getKey, getValue := key.get(kids.(*array.Struct).Field(0)), value.get(kids.(*array.Struct).Field(1))
		k, v := reflect.New(t.Key()), reflect.New(t.Elem())
		return func(i int, p unsafe.Pointer) {
			from, to := int(ends[i]), int(ends[i+1])
			out := reflect.NewAt(t, p).Elem()
			if from == to {
				out.SetZero()
				return
			}
			m := reflect.MakeMapWithSize(t, to-from)
			for ; from < to; from++ {
				getKey(from, k.UnsafePointer())
				getValue(from, v.UnsafePointer())
				m.SetMapIndex(k.Elem(), v.Elem())
			}
			out.Set(m)
		}
	}
}
