package dataflow

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
)

// A Dataset is rows of type T that a job will make: a step of its graph, not the
// rows. It is a small value; use it as often as you like. A dataset that is used
// twice is computed twice, unless it is Cached or an exchange lies between.
//
// Functions, not methods, turn a dataset into one of another type.
type Dataset[T any] struct {
	j     *Job
	node  *Node
	codec *codec[T]
}

// A Pair is a key and a value. Its columns are "key" and "value".
type Pair[K, V any] struct {
	Key   K `df:"key"`
	Value V `df:"value"`
}

// KV is a Pair, shorter to write.
func KV[K, V any](k K, v V) Pair[K, V] { return Pair[K, V]{k, v} }

// Emit passes a value on. A function that is given one may call it any number of
// times until it returns, and not later. The value is the receiver's from then on.
type Emit[T any] func(T)

// Named says what the step that made d is called in plans and on pages.
func (d Dataset[T]) Named(name string) Dataset[T] {
	if d.node != nil {
		d.node.Name = name
	}
	return d
}

// Schema is the columns of d's rows.
func (d Dataset[T]) Schema() *arrow.Schema { return d.node.Schema }

// then makes a dataset of a node after d: the node's inputs are d's, its schema
// that of T. Whoever knows better what the node promises says so.
func then[T any](j *Job, n *Node, c *codec[T]) Dataset[T] {
	if c != nil && n.Schema == nil {
		n.Schema = c.schema
	}
	if n.Schema == nil { // the type does not map, which was reported
		n.Schema = arrow.NewSchema(nil, nil)
	}
	return Dataset[T]{j, j.add(n), c}
}

// apply adds a typed operator after d.
func apply[A, B any](d Dataset[A], name string, open func(r *run, at int, emit func(B)) (func(A), func()), sides ...AnySide) Dataset[B] {
	out := codecFor[B](d.j)
	n := &Node{Kind: OperatorNode, Name: name, In: []*Node{d.node}, Sides: sideNodes(sides)}
	n.Op = &typed[A, B]{node: n, from: &rowFeeder[A]{d.codec}, out: out, open: open}
	return then(d.j, n, out)
}

// rowwise notes that d's step deals with each row by itself, see Node.Rowwise.
func rowwise[T any](d Dataset[T]) Dataset[T] {
	d.node.Rowwise = true
	return d
}

// keepPlace carries over what from promises to n, whose rows are some or all of
// from's, unchanged and in the same order and tasks.
func keepPlace(n, from *Node) {
	n.PartitionedBy = slices.Clone(from.PartitionedBy)
	n.SortedBy = slices.Clone(from.SortedBy)
	n.Ordered = from.Ordered
}
