package dataflow

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Distinct is each row once, however often it occurs.
func Distinct[T comparable](d Dataset[T], opts ...CombineOption) Dataset[T] {
	keyHash(d.j, "Distinct", d.codec)
	once := apply(d, "Distinct (partial)", func(r *run, at int, emit func(Pair[T, bool])) (func(T), func()) {
		p := newPartial(r, at, d.codec, emit)
		return func(v T) { p.add(v, true, either) }, p.flush
	})
	out := Keys(gather(rowwise(once), "Distinct", opts, either, same[bool])).Named("Distinct (rows)")
	if out.codec != nil && !out.codec.asRow {
		out.node.PartitionedBy = []int{0}
	}
	return out
}

func either(a, b bool) bool { return a || b }

// Sample is each row with the given probability, 0 to 1, by a generator that is
// seeded for each task: the same job on the same splits gives the same sample.
func Sample[T any](d Dataset[T], fraction float64, seed uint64) Dataset[T] {
	if !(fraction >= 0 && fraction <= 1) {
		d.j.report(fmt.Errorf("Sample: a fraction of %v makes no sense: it is 0 to 1", fraction))
	}
	return FilterTask(d, func(t *Task) func(T) bool {
		r := rand.New(rand.NewPCG(seed, uint64(t.ID().Index)))
		return func(T) bool { return r.Float64() < fraction }
	}).Named("Sample")
}

// SampleN is n rows, or all if there are fewer; any n as likely as any other. They
// are in one task, in random order.
func SampleN[T any](d Dataset[T], n int, seed uint64) Dataset[T] {
	if n < 0 || n > math.MaxInt32 {
		d.j.report(fmt.Errorf("SampleN: %d rows make no sense", n))
	}
	drawn := MapTask(d, func(t *Task) func(T) Pair[uint64, T] {
		r := rand.New(rand.NewPCG(seed, uint64(t.ID().Index)))
		return func(v T) Pair[uint64, T] { return Pair[uint64, T]{r.Uint64(), v} }
	}).Named("SampleN (draw)")
	return Values(firstN(drawn, "SampleN", n, SortKey{})).Named("SampleN (rows)")
}
