package dataflow

import (
	"reflect"
	"unsafe"
)

// stringPairs writes pairs of a string and a value of fixed size straight into the
// columns of the batch that a chain makes, without a Pair and a function on the way.
type stringPairs[V any] struct {
	r    *run
	rows interface {
		added() bool
		batch() Batch
	}
	keys   *bytesColumn
	values *fixedColumn[V]
}

// stringPairsOf is nil where pairs of K and V do not lie so, or where something else
// than the chain's end takes what the operator being opened makes.
func stringPairsOf[K, V any](r *run) *stringPairs[V] {
	w, ok := r.behind.(*rowWriter[Pair[K, V]])
	if !ok || reflect.TypeFor[K]().Kind() != reflect.String {
		return nil
	}
	keys, ok := w.cols[0].(*bytesColumn)
	values := fixedColumnOf[V](w.cols[1])
	if !ok || values == nil {
		return nil
	}
	return &stringPairs[V]{r: r, rows: w, keys: keys, values: values}
}

// fixedColumnOf is the column as one of V, where V's bytes are the column's: int is
// kept in a column of int64. Otherwise it is nil.
func fixedColumnOf[V any](c column) *fixedColumn[V] {
	var at unsafe.Pointer
	switch c := c.(type) {
	case *fixedColumn[int64]:
		at = unsafe.Pointer(c)
	case *fixedColumn[uint64]:
		at = unsafe.Pointer(c)
	case *fixedColumn[float64]:
		at = unsafe.Pointer(c)
	}
	switch reflect.TypeFor[V]().Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64, reflect.Float64:
		return (*fixedColumn[V])(at)
	}
	return nil
}

// short adds a pair with a short key.
func (w *stringPairs[V]) short(k *shortKey, v V) {
	w.keys.appendShort(k)
	w.value(v)
}

func (w *stringPairs[V]) long(k string, v V) {
	w.keys.append(k)
	w.value(v)
}

func (w *stringPairs[V]) value(v V) {
	w.values.append(v)
	if w.rows.added() {
		w.r.send(w.rows.batch())
	}
}

// pairs writes every key and value of the table.
func (t *stringTable[K, V]) pairs(w *stringPairs[V]) {
	for i := range t.slots {
		e := &t.slots[i]
		switch {
		case e.none():
		case e.long():
			w.long(t.longKey(&e.shortKey), e.v)
		default:
			w.short(&e.shortKey, e.v)
		}
	}
}
