package dataflow

import (
	"iter"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
)

// CoGrouped is two datasets brought together by key, to be gone through key by key
// with MapCoGroups.
type CoGrouped[K, A, B any] struct {
	j           *Job
	left, right *Node
	a           *codec[Pair[K, A]]
	b           *codec[Pair[K, B]]
	key         *codec[K]
}

// CoGroup brings the values of each key of two datasets together.
func CoGroup[K, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], opts ...GroupOption) CoGrouped[K, A, B] {
	var o groupOptions
	for _, f := range opts {
		f.forGroup(&o)
	}
	j := left.j
	g := CoGrouped[K, A, B]{j: j, a: left.codec, b: right.codec, key: keyOrder[K](j, "CoGroup")}
	g.left = sortedOn(meetByKey(left, "CoGroup (left)", o.partitions), "CoGroup (sort)", SortKey{}).node
	g.right = sortedOn(meetByKey(right, "CoGroup (right)", o.partitions), "CoGroup (sort)", SortKey{}).node
	return g
}

// MapCoGroups calls f for each key of either dataset with its values in both. They
// can be gone through once each, in any order, and until f returns.
func MapCoGroups[K, A, B, O any](g CoGrouped[K, A, B], f func(k K, left iter.Seq[A], right iter.Seq[B], emit Emit[O])) Dataset[O] {
	return MapCoGroupsTask(g, func(*Task) func(K, iter.Seq[A], iter.Seq[B], Emit[O]) { return f })
}

// MapCoGroupsTask is MapCoGroups with a function made per task.
func MapCoGroupsTask[K, A, B, O any](g CoGrouped[K, A, B], f func(*Task) func(k K, left iter.Seq[A], right iter.Seq[B], emit Emit[O]), sides ...AnySide) Dataset[O] {
	out := codecFor[O](g.j)
	n := &Node{Kind: OperatorNode, Name: "CoGroup", In: []*Node{g.left, g.right}, Sides: sideNodes(sides)}
	n.Op = &rooted[O]{
		node: n, out: out,
		check: func(in []*arrow.Schema) error {
			if err := g.a.accepts(in[0]); err != nil {
				return err
			}
			return g.b.accepts(in[1])
		},
		open: func(r *run, at int, emit func(O)) func() {
			f, out := begin(r, at, f), back(r, at, emit)
			a, b := newCursor(r, 0, g.a, 0), newCursor(r, 1, g.b, 0)
			same := sameKey[K](g.key)
			return func() {
				left := groupIter[K, A]{c: a, at: at, same: same}
				right := groupIter[K, B]{c: b, at: at, same: same}
				as, bs := left.values, right.values
				a.advance()
				b.advance()
				for a.ok || b.ok {
					left.key = firstKey(g.key, a, b)
					right.key = left.key
					r.at = at
					f(left.key, as, bs, out)
					left.rest()
					right.rest()
				}
			}
		},
	}
	return then(g.j, n, out)
}

// firstKey is the smaller of the keys that two cursors stand on.
func firstKey[K, A, B any](c *codec[K], a *cursor[Pair[K, A]], b *cursor[Pair[K, B]]) K {
	if !b.ok || a.ok && c.cmp(unsafe.Pointer(&a.cur.Key), unsafe.Pointer(&b.cur.Key)) <= 0 {
		return a.cur.Key
	}
	return b.cur.Key
}

// meetByKey is byKey for one of several inputs of a step: rows that are together by
// key may stay where they are only if they came there through an exchange that the
// planner can give as many partitions as the others.
func meetByKey[T any](d Dataset[T], name string, partitions int) Dataset[T] {
	n := d.node
	for n.Kind == OperatorNode {
		n = n.In[0]
	}
	if n.Kind == ExchangeNode && n.Exchange.Kind == Hash {
		return byKey(d, name, partitions)
	}
	return exchange(d, name, Exchange{Kind: Hash, Columns: []int{0}, Partitions: partitions})
}
