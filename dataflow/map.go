package dataflow

// Map makes one row of each.
func Map[A, B any](d Dataset[A], f func(A) B) Dataset[B] {
	return rowwise(MapTask(d, func(*Task) func(A) B { return f }))
}

// MapErr is Map with a function that may fail. An error ends the job and names the
// record; one of kind Transient is tried again.
func MapErr[A, B any](d Dataset[A], f func(A) (B, error)) Dataset[B] {
	return rowwise(apply(d, "Map", func(r *run, at int, emit func(B)) (func(A), func()) {
		return func(a A) {
			r.at = at
			b, err := f(a)
			if err != nil {
				r.fail(r.userError(err))
			}
			emit(b)
		}, nil
	}))
}

// MapTask is Map with a function made per task, which may keep state and use
// counters, shipped files and side inputs.
func MapTask[A, B any](d Dataset[A], f func(*Task) func(A) B, sides ...AnySide) Dataset[B] {
	return apply(d, "Map", func(r *run, at int, emit func(B)) (func(A), func()) {
		f := begin(r, at, f)
		return func(a A) {
			r.at = at
			emit(f(a))
		}, nil
	}, sides...)
}

// begin calls an author's factory.
func begin[F any](r *run, at int, f func(*Task) F) F {
	r.at = at
	return f(&Task{r.env, r.steps[at], r.atEnd})
}

// FlatMap makes any number of rows of each: f calls emit for every one. However
// many they are, only a batch of them is in memory.
func FlatMap[A, B any](d Dataset[A], f func(A, Emit[B])) Dataset[B] {
	return rowwise(FlatMapTask(d, func(*Task) func(A, Emit[B]) { return f }))
}

// FlatMapErr is FlatMap with a function that may fail.
func FlatMapErr[A, B any](d Dataset[A], f func(A, Emit[B]) error) Dataset[B] {
	return rowwise(apply(d, "FlatMap", func(r *run, at int, emit func(B)) (func(A), func()) {
		out := back(r, at, emit)
		return func(a A) {
			r.at = at
			if err := f(a, out); err != nil {
				r.fail(r.userError(err))
			}
		}, nil
	}))
}

// FlatMapTask is FlatMap with a function made per task.
func FlatMapTask[A, B any](d Dataset[A], f func(*Task) func(A, Emit[B]), sides ...AnySide) Dataset[B] {
	return apply(d, "FlatMap", func(r *run, at int, emit func(B)) (func(A), func()) {
		f, out := begin(r, at, f), back(r, at, emit)
		return func(a A) {
			r.at = at
			f(a, out)
		}, nil
	}, sides...)
}

// back is emit for a function that goes on afterwards: the run is told that it is
// the function's turn again.
func back[B any](r *run, at int, emit func(B)) Emit[B] {
	return func(b B) {
		emit(b)
		r.at = at
	}
}

// Filter keeps the rows for which keep is true.
func Filter[T any](d Dataset[T], keep func(T) bool) Dataset[T] {
	return rowwise(FilterTask(d, func(*Task) func(T) bool { return keep }))
}

// FilterTask is Filter with a function made per task.
func FilterTask[T any](d Dataset[T], f func(*Task) func(T) bool, sides ...AnySide) Dataset[T] {
	out := apply(d, "Filter", func(r *run, at int, emit func(T)) (func(T), func()) {
		keep := begin(r, at, f)
		return func(v T) {
			r.at = at
			if keep(v) {
				emit(v)
			}
		}, nil
	}, sides...)
	keepPlace(out.node, d.node)
	return out
}

// KeyBy pairs each row with its key.
func KeyBy[T, K any](d Dataset[T], key func(T) K) Dataset[Pair[K, T]] {
	return Map(d, func(v T) Pair[K, T] { return Pair[K, T]{key(v), v} }).Named("KeyBy")
}

// Keys is the keys alone.
func Keys[K, V any](d Dataset[Pair[K, V]]) Dataset[K] {
	return Map(d, func(p Pair[K, V]) K { return p.Key }).Named("Keys")
}

// Values is the values alone.
func Values[K, V any](d Dataset[Pair[K, V]]) Dataset[V] {
	return Map(d, func(p Pair[K, V]) V { return p.Value }).Named("Values")
}

// MapValues changes the values and keeps the keys; rows that are together by key
// stay together.
func MapValues[K, V, W any](d Dataset[Pair[K, V]], f func(V) W) Dataset[Pair[K, W]] {
	out := Map(d, func(p Pair[K, V]) Pair[K, W] { return Pair[K, W]{p.Key, f(p.Value)} }).Named("MapValues")
	keepKey(out.node, d.node)
	return out
}

// Swap makes the value the key and the key the value.
func Swap[K, V any](d Dataset[Pair[K, V]]) Dataset[Pair[V, K]] {
	return Map(d, func(p Pair[K, V]) Pair[V, K] { return Pair[V, K]{p.Value, p.Key} }).Named("Swap")
}

// keepKey carries over what from promises about column 0, all that n keeps of it.
func keepKey(n, from *Node) {
	if len(from.PartitionedBy) == 1 && from.PartitionedBy[0] == 0 {
		n.PartitionedBy = []int{0}
	}
	if len(from.SortedBy) > 0 && from.SortedBy[0].Column == 0 {
		n.SortedBy = []SortKey{from.SortedBy[0]}
		n.Ordered = from.Ordered
	}
}
