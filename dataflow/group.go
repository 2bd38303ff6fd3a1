package dataflow

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
)

// Grouped is pairs brought together by key and sorted by it, to be gone through
// key by key with MapGroups or ReduceGroups. A group is never held in memory: its
// values are read as they are asked for, and it may be of any size.
type Grouped[K, V any] struct {
	j     *Job
	rows  *Node
	codec *codec[Pair[K, V]]
	skip  int // columns before the key
	same  func(a, b *K) bool
	keyed bool // rows are together by the key's value, in column 0
}

// GroupByKey brings the values of each key together. Where they are reduced to a
// small result, Combine and Aggregate do much less work.
func GroupByKey[K, V any](d Dataset[Pair[K, V]], opts ...GroupOption) Grouped[K, V] {
	var o groupOptions
	for _, f := range opts {
		f.forGroup(&o)
	}
	key := keyOrder[K](d.j, "GroupByKey")
	moved := byKey(d, "GroupByKey (by key)", o.partitions)
	return Grouped[K, V]{j: d.j, rows: sortedOn(moved, "GroupByKey (sort)", SortKey{}).node, codec: d.codec, same: sameKey[K](key), keyed: true}
}

// GroupByKeySorted is GroupByKey with the values of each key in the order of what
// by returns for them.
func GroupByKeySorted[K, V, S any](d Dataset[Pair[K, V]], by func(V) S, opts ...GroupOption) Grouped[K, V] {
	var o groupOptions
	for _, f := range opts {
		f.forGroup(&o)
	}
	key := keyOrder[K](d.j, "GroupByKeySorted")
	keyOrder[S](d.j, "GroupByKeySorted")
	rows := Map(d, func(p Pair[K, V]) ordered[K, V, S] { return ordered[K, V, S]{p.Key, p.Value, by(p.Value)} }).Named("GroupByKeySorted (order)")
	keepKey(rows.node, d.node)
	moved := byKey(rows, "GroupByKeySorted (by key)", o.partitions)
	sorted := sortedOn(moved, "GroupByKeySorted (sort)", SortKey{}, SortKey{Column: 2})
	return Grouped[K, V]{j: d.j, rows: sorted.node, codec: d.codec, same: sameKey[K](key), keyed: true}
}

// ordered is a pair and what its value is ordered by.
type ordered[K, V, S any] struct {
	Key   K `df:"key"`
	Value V `df:"value"`
	Order S `df:"order"`
}

// keyOrder checks that K has an order, and returns how it maps.
func keyOrder[K any](j *Job, call string) *codec[K] {
	c := codecFor[K](j)
	if c != nil && c.cmp == nil {
		j.report(fmt.Errorf("%s: %s has no order: it holds a slice or map", call, reflect.TypeFor[K]()))
	}
	return c
}

func sameKey[K any](c *codec[K]) func(a, b *K) bool {
	if c == nil {
		return nil
	}
	return func(a, b *K) bool { return c.cmp(unsafe.Pointer(a), unsafe.Pointer(b)) == 0 }
}

// sortedOn sorts the rows of each task, unless they are sorted so already.
func sortedOn[T any](d Dataset[T], name string, keys ...SortKey) Dataset[T] {
	if slices.Equal(d.node.SortedBy, keys) {
		return d
	}
	out := builtin(d, name, "sort", sortArgs{keys}, d.codec)
	out.node.PartitionedBy = slices.Clone(d.node.PartitionedBy)
	out.node.SortedBy = keys
	return out
}

// sortArgs are the arguments of the operator of kind "sort".
type sortArgs struct {
	Keys []SortKey `json:"keys"`
}

// MapGroups calls f for each key with its values. The values can be gone through
// once, and until f returns; those that f leaves are skipped.
func MapGroups[K, V, O any](g Grouped[K, V], f func(k K, vs iter.Seq[V], emit Emit[O])) Dataset[O] {
	return MapGroupsTask(g, func(*Task) func(K, iter.Seq[V], Emit[O]) { return f })
}

// MapGroupsTask is MapGroups with a function made per task.
func MapGroupsTask[K, V, O any](g Grouped[K, V], f func(*Task) func(k K, vs iter.Seq[V], emit Emit[O]), sides ...AnySide) Dataset[O] {
	return mapGroups(g, "MapGroups", f, sides)
}

// ReduceGroups makes one value of each key's.
func ReduceGroups[K, V, O any](g Grouped[K, V], f func(k K, vs iter.Seq[V]) O) Dataset[Pair[K, O]] {
	out := mapGroups(g, "ReduceGroups", func(*Task) func(K, iter.Seq[V], Emit[Pair[K, O]]) {
		return func(k K, vs iter.Seq[V], emit Emit[Pair[K, O]]) { emit(Pair[K, O]{k, f(k, vs)}) }
	}, nil)
	if g.keyed {
		out.node.PartitionedBy = []int{0}
		out.node.SortedBy = []SortKey{{}}
	}
	return out
}

func mapGroups[K, V, O any](g Grouped[K, V], name string, f func(*Task) func(K, iter.Seq[V], Emit[O]), sides []AnySide) Dataset[O] {
	out := codecFor[O](g.j)
	n := &Node{Kind: OperatorNode, Name: name, In: []*Node{g.rows}, Sides: sideNodes(sides)}
	n.Op = &rooted[O]{
		node: n, out: out,
		check: func(in []*arrow.Schema) error { return g.codec.acceptsFrom(in[0], g.skip) },
		open: func(r *run, at int, emit func(O)) func() {
			f, out := begin(r, at, f), back(r, at, emit)
			c := newCursor(r, 0, g.codec, g.skip)
			return func() {
				it := groupIter[K, V]{c: c, at: at, same: g.same}
				values := it.values
				for c.advance(); c.ok; it.rest() {
					it.key = c.cur.Key
					r.at = at
					f(it.key, values, out)
				}
			}
		},
	}
	return then(g.j, n, out)
}

// groupIter goes through the values of one key after the other.
type groupIter[K, V any] struct {
	c    *cursor[Pair[K, V]]
	at   int
	same func(a, b *K) bool
	key  K
	used bool // the cursor's row was given out: it stays until the next is asked for
}

// values is the iter.Seq that a function is given.
func (g *groupIter[K, V]) values(yield func(V) bool) {
	for g.more() {
		g.used = true
		g.c.r.at = g.at
		if !yield(g.c.cur.Value) {
			return
		}
	}
}

// more says whether the cursor stands on an unused row of the key.
func (g *groupIter[K, V]) more() bool {
	if g.used {
		g.used = false
		g.c.advance()
	}
	return g.c.ok && g.same(&g.key, &g.c.cur.Key)
}

// rest skips what is left of the key.
func (g *groupIter[K, V]) rest() {
	for g.more() {
		g.used = true
	}
}
