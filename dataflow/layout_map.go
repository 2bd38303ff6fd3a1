package dataflow

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// mapLayout stores a map as a list of entries in the order of their keys, so that
// the same map is the same bytes on every run. Maps from strings or ints to basic
// types are read and written without reflection; others reflect, once per entry.
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

func typedMap[K cmp.Ordered, V any](l, key, value *layout) {
	l.put = func(c column) func(unsafe.Pointer) {
		m := c.(*listColumn)
		entries := m.elem.(*structColumn)
		putKey, putValue := key.put(entries.fields[0]), value.put(entries.fields[1])
		slot := new(Pair[K, V])
		var keys []K
		return func(p unsafe.Pointer) {
			m.open()
			all := *(*map[K]V)(p)
			keys = slices.AppendSeq(keys[:0], maps.Keys(all))
			slices.Sort(keys)
			for _, k := range keys {
				slot.Key, slot.Value = k, all[k]
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
		k, v, other := reflect.New(t.Key()), reflect.New(t.Elem()), reflect.New(t.Key())
		return func(p unsafe.Pointer) {
			m.open()
			all := reflect.NewAt(t, p).Elem()
			keys := all.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int {
				k.Elem().Set(a)
				other.Elem().Set(b)
				return key.cmp(k.UnsafePointer(), other.UnsafePointer())
			})
			for _, at := range keys {
				k.Elem().Set(at)
				v.Elem().Set(all.MapIndex(at))
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
