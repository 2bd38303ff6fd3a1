package dataflow

import (
	"cmp"
	"reflect"
	"unsafe"
)

// An Aggregator gathers values of V into an A, and makes of it an O. Values are
// gathered where they are made and partial results merged where keys meet, in any
// order and grouping; so Merge must not depend on either. All four are functions
// of their arguments alone. Add and Merge may change and return their first
// argument.
type Aggregator[V, A, O any] struct {
	Zero   func() A
	Add    func(A, V) A
	Merge  func(A, A) A
	Finish func(A) O
}

// Count is how often each row occurs. Here and wherever rows are gathered by key, NaN is
// equal to NaN, and -0 to 0.
func Count[T comparable](d Dataset[T], opts ...CombineOption) Dataset[Pair[T, int64]] {
	key := d.codec
	keyHash(d.j, "Count", key)
	part := apply(d, "Count (partial)", func(r *run, at int, emit func(Pair[T, int64])) (func(T), func()) {
		if reflect.TypeFor[T]().Kind() == reflect.String {
			c := newTally(r, at, stringPairsOf[T, int64](r), func(k string, n int64) {
				emit(Pair[T, int64]{*(*T)(unsafe.Pointer(&k)), n})
			})
			r.takes = c
			return func(v T) { c.add(*(*string)(unsafe.Pointer(&v))) }, c.done
		}
		p := newPartial(r, at, key, emit)
		return func(v T) { p.add(v, 1, addInt64) }, p.flush
	})
	return gather(rowwise(part), "Count", opts, addInt64, same[int64])
}

func addInt64(a, b int64) int64 { return a + b }
func same[V any](v V) V         { return v }

// CountByKey is how many values each key has.
func CountByKey[K comparable, V any](d Dataset[Pair[K, V]], opts ...CombineOption) Dataset[Pair[K, int64]] {
	one := apply(d, "CountByKey (keys)", func(_ *run, _ int, emit func(Pair[K, int64])) (func(Pair[K, V]), func()) {
		return func(p Pair[K, V]) { emit(Pair[K, int64]{p.Key, 1}) }, nil
	})
	keepKey(one.node, d.node)
	return combine(rowwise(one), "CountByKey", addInt64, opts)
}

// Combine makes one value of all values of a key, two at a time. merge is called
// in any order and grouping; it may change and return its first argument.
func Combine[K comparable, V any](d Dataset[Pair[K, V]], merge func(a, b V) V, opts ...CombineOption) Dataset[Pair[K, V]] {
	return combine(d, "Combine", merge, opts)
}

func combine[K comparable, V any](d Dataset[Pair[K, V]], name string, merge func(a, b V) V, opts []CombineOption) Dataset[Pair[K, V]] {
	key := codecFor[K](d.j)
	keyHash(d.j, name, key)
	part := apply(d, name+" (partial)", func(r *run, at int, emit func(Pair[K, V])) (func(Pair[K, V]), func()) {
		p := newPartial(r, at, key, emit)
		return func(v Pair[K, V]) { p.add(v.Key, v.Value, merge) }, p.flush
	})
	keepKey(part.node, d.node)
	part.node.SortedBy, part.node.Ordered = nil, false
	return gather(rowwise(part), name, opts, merge, same[V])
}

// Sum adds up the values of each key.
func Sum[K comparable, V cmp.Ordered](d Dataset[Pair[K, V]], opts ...CombineOption) Dataset[Pair[K, V]] {
	return combine(d, "Sum", func(a, b V) V { return a + b }, opts)
}

// Min is the smallest value of each key.
func Min[K comparable, V cmp.Ordered](d Dataset[Pair[K, V]], opts ...CombineOption) Dataset[Pair[K, V]] {
	return combine(d, "Min", func(a, b V) V { return min(a, b) }, opts)
}

// Max is the largest value of each key.
func Max[K comparable, V cmp.Ordered](d Dataset[Pair[K, V]], opts ...CombineOption) Dataset[Pair[K, V]] {
	return combine(d, "Max", func(a, b V) V { return max(a, b) }, opts)
}

// Aggregate gathers the values of each key with an Aggregator.
func Aggregate[K comparable, V, A, O any](d Dataset[Pair[K, V]], agg Aggregator[V, A, O], opts ...CombineOption) Dataset[Pair[K, O]] {
	key := codecFor[K](d.j)
	keyHash(d.j, "Aggregate", key)
	if agg.Zero == nil || agg.Add == nil || agg.Merge == nil || agg.Finish == nil {
		d.j.Errorf("Aggregate: the Aggregator for %s lacks a function: Zero, Add, Merge and Finish are all needed", reflect.TypeFor[V]())
	}
	part := apply(d, "Aggregate (partial)", func(r *run, at int, emit func(Pair[K, A])) (func(Pair[K, V]), func()) {
		p := newPartial(r, at, key, emit)
		return func(v Pair[K, V]) {
			r.at = at
			a := p.value(v.Key)
			if a == nil {
				emit(Pair[K, A]{v.Key, agg.Add(agg.Zero(), v.Value)})
				return
			}
			if p.kept.keeper != nil {
				p.kept.before(a, p.fresh)
			}
			if p.fresh {
				*a = agg.Zero()
			}
			*a = agg.Add(*a, v.Value)
			p.changed(a)
		}, p.flush
	})
	keepKey(part.node, d.node)
	part.node.SortedBy, part.node.Ordered = nil, false
	return gather(rowwise(part), "Aggregate", opts, agg.Merge, agg.Finish)
}

// gather brings partial results together by key and merges them.
func gather[K comparable, A, O any](part Dataset[Pair[K, A]], name string, opts []CombineOption, merge func(a, b A) A, finish func(A) O) Dataset[Pair[K, O]] {
	var o combineOptions
	for _, f := range opts {
		f.forCombine(&o)
	}
	moved := byKey(part, name+" (by key)", o.partitions)
	in := part.codec
	out := apply(moved, name, func(r *run, at int, emit func(Pair[K, O])) (func(Pair[K, A]), func()) {
		f := newFinal(r, at, in, merge)
		if t := byBatch(f); t != nil {
			r.takes = t
		}
		return f.add, func() {
			f.finish(func(k K, a A) {
				r.at = at
				emit(Pair[K, O]{k, finish(a)})
			})
		}
	})
	out.node.PartitionedBy = []int{0}
	return out
}
