package dataflow

import (
	"fmt"
	"iter"
)

// A Mapper makes pairs of each row.
type Mapper[I, K, V any] interface {
	// Map calls emit any number of times, and not after it returned.
	Map(row I, emit func(K, V))
}

// A Reducer makes rows of each key's values.
type Reducer[K, V, O any] interface {
	// Reduce is called once per key, in the order of the keys. The values can be
	// gone through once, and until it returns.
	Reduce(k K, vs iter.Seq[V], emit Emit[O])
}

// A Combiner makes one value of two of the same key, in any order and grouping,
// before they leave the task that made them.
type Combiner[V any] interface {
	Combine(a, b V) V
}

// A Partitioner says which part a key belongs to: a number of at least 0, of which
// the remainder by the number of parts is taken.
type Partitioner[K any] interface {
	Partition(k K) int
}

// A TaskMapper is a Mapper that makes one of itself for each task, to keep state,
// and to use the task's counters, files and side inputs.
type TaskMapper[I, K, V any] interface {
	Mapper[I, K, V]
	ForTask(t *Task) Mapper[I, K, V]
}

// A TaskReducer is a Reducer that makes one of itself for each task.
type TaskReducer[K, V, O any] interface {
	Reducer[K, V, O]
	ForTask(t *Task) Reducer[K, V, O]
}

// Shuffle says how pairs get from the mappers to the reducers. The zero value:
// partitioned by the hash of the key, sorted and grouped by the key.
type Shuffle[K, V any] struct {
	Combiner    Combiner[V]
	Partitioner Partitioner[K]
	// Group says that two keys, neighbours in order, belong to the same call of
	// Reduce, which gets the first of them. With a struct for a key, whose fields in
	// turn are the order, and a Partitioner that looks at the first ones only, it
	// gives a secondary sort: values come in the order of the other fields.
	Group func(a, b K) bool
	// Descending sorts the keys the other way round.
	Descending bool
	Partitions int
	// Sides are what ForTask of the mapper and reducer asks for.
	Sides []AnySide
}

// MapReduce is Hadoop's: m makes pairs, which are brought together by key and
// sorted, and r makes rows of each key's values.
func MapReduce[I any, K comparable, V, O any](d Dataset[I], m Mapper[I, K, V], r Reducer[K, V, O]) Dataset[O] {
	return MapReduceWith(d, m, r, Shuffle[K, V]{})
}

// MapReduceWith is MapReduce with a combiner, partitioner, grouping or order.
func MapReduceWith[I any, K comparable, V, O any](d Dataset[I], m Mapper[I, K, V], red Reducer[K, V, O], s Shuffle[K, V]) Dataset[O] {
	j := d.j
	key := keyOrder[K](j, "MapReduce")
	pairs := apply(d, "Map", func(r *run, at int, emit func(Pair[K, V])) (func(I), func()) {
		m := begin(r, at, func(t *Task) Mapper[I, K, V] {
			if own, ok := m.(TaskMapper[I, K, V]); ok {
				return own.ForTask(t)
			}
			return m
		})
		out := func(k K, v V) {
			emit(Pair[K, V]{k, v})
			r.at = at
		}
		return func(row I) {
			r.at = at
			m.Map(row, out)
		}, nil
	}, s.Sides...)
	if _, own := m.(TaskMapper[I, K, V]); !own {
		pairs = rowwise(pairs)
	}
	if s.Combiner != nil {
		keyHash(j, "MapReduce", key)
		pairs = rowwise(apply(pairs, "Combine", func(r *run, at int, emit func(Pair[K, V])) (func(Pair[K, V]), func()) {
			p := newPartial(r, at, key, emit)
			return func(v Pair[K, V]) { p.add(v.Key, v.Value, s.Combiner.Combine) }, p.flush
		}))
	}
	return mapGroups(shuffled(pairs, s, key), "Reduce", func(t *Task) func(K, iter.Seq[V], Emit[O]) {
		if own, ok := red.(TaskReducer[K, V, O]); ok {
			return own.ForTask(t).Reduce
		}
		return red.Reduce
	}, s.Sides)
}

// part is a pair and the part it goes to.
type part[K, V any] struct {
	Part  int32 `df:"part"`
	Key   K     `df:"key"`
	Value V     `df:"value"`
}

// shuffled moves, sorts and groups.
func shuffled[K, V any](d Dataset[Pair[K, V]], s Shuffle[K, V], key *codec[K]) Grouped[K, V] {
	g := Grouped[K, V]{j: d.j, codec: d.codec, same: sameKey[K](key), keyed: s.Group == nil && s.Partitioner == nil && !s.Descending}
	if s.Group != nil {
		g.same = func(a, b *K) bool { return s.Group(*a, *b) }
	}
	if s.Partitioner == nil {
		moved := exchange(d, "Shuffle", Exchange{Kind: Hash, Columns: []int{0}, Partitions: s.Partitions})
		g.rows = sortedOn(moved, "Sort", SortKey{Descending: s.Descending}).node
		return g
	}
	parts := Map(d, func(p Pair[K, V]) part[K, V] {
		n := s.Partitioner.Partition(p.Key)
		if n < 0 {
			panic(userFailure{fmt.Errorf("Partition returned %d: it must be at least 0", n)})
		}
		return part[K, V]{int32(n & 0x7fffffff), p.Key, p.Value}
	}).Named("Partition")
	moved := exchange(parts, "Shuffle", Exchange{Kind: Direct, Columns: []int{0}, Partitions: s.Partitions})
	g.rows = sortedOn(moved, "Sort", SortKey{Column: 1, Descending: s.Descending}).node
	g.skip = 1
	return g
}
