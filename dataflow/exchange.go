package dataflow

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
)

// exchange adds a cut after d: rows move between tasks and stay as they are.
func exchange[T any](d Dataset[T], name string, x Exchange) Dataset[T] {
	if x.Partitions < 0 {
		d.j.Errorf("%s: Partitions(%d) makes no sense", name, x.Partitions)
	}
	n := &Node{Kind: ExchangeNode, Name: name, In: []*Node{d.node}, Schema: d.node.Schema, Exchange: x}
	if x.Kind == Hash {
		n.PartitionedBy = slices.Clone(x.Columns)
	}
	return then(d.j, n, d.codec)
}

// byKey brings rows alike in column 0 together, unless they are already.
func byKey[T any](d Dataset[T], name string, partitions int) Dataset[T] {
	if partitions == 0 && slices.Equal(d.node.PartitionedBy, []int{0}) {
		return d
	}
	return exchange(d, name, Exchange{Kind: Hash, Columns: []int{0}, Partitions: partitions})
}

// builtin adds an operator of a registered kind after d.
func builtin[T, U any](d Dataset[T], name, kind string, args any, out *codec[U]) Dataset[U] {
	n := &Node{Kind: OperatorNode, Name: name, In: []*Node{d.node}, Ref: Ref{Kind: kind, Args: encodeArgs(args)}}
	return then(d.j, n, out)
}

// CustomOperator adds an operator of a kind that was registered with Register after
// d. args become its arguments, as JSON. The columns that come out must be those of B.
func CustomOperator[A, B any](d Dataset[A], kind string, args any) Dataset[B] {
	return builtin(d, kind, kind, args, codecFor[B](d.j))
}

// Repartition spreads d's rows evenly over n parts: row by row in turn, the same
// on every run.
func Repartition[T any](d Dataset[T], n int) Dataset[T] {
	if n < 1 {
		d.j.Errorf("Repartition: %d parts make no sense", n)
	}
	return exchange(d, "Repartition", Exchange{Kind: Spread, Partitions: n})
}

// PartitionByKey brings pairs with the same key into the same task.
func PartitionByKey[K comparable, V any](d Dataset[Pair[K, V]], opts ...GroupOption) Dataset[Pair[K, V]] {
	var o groupOptions
	for _, f := range opts {
		f.forGroup(&o)
	}
	keyHash(d.j, "PartitionByKey", codecFor[K](d.j))
	return exchange(d, "PartitionByKey", Exchange{Kind: Hash, Columns: []int{0}, Partitions: o.partitions})
}

// PartitionBy brings rows to the parts that they name: column is of type int32, and
// the remainder of its value, at least 0, by the number of parts is the row's part.
func PartitionBy[T any](d Dataset[T], column string, opts ...GroupOption) Dataset[T] {
	var o groupOptions
	for _, f := range opts {
		f.forGroup(&o)
	}
	at := d.node.Schema.FieldIndices(column)
	if len(at) == 0 || d.node.Schema.Field(at[0]).Type.ID() != arrow.INT32 {
		if d.codec != nil {
			d.j.Errorf("PartitionBy: there is no column %q of type int32 (the columns are %s)", column, columnNames(d))
		}
		at = []int{0}
	}
	return exchange(d, "PartitionBy", Exchange{Kind: Direct, Columns: at[:1], Partitions: o.partitions})
}

// SortWithin puts the rows of each task in the order of columns, the first one named
// first, and moves none of them to another task.
func SortWithin[T any](d Dataset[T], first SortByOption, more ...SortByOption) Dataset[T] {
	o := sortByOptionsOf("SortWithin", d, first, more)
	if o.partitions != 0 {
		d.j.Errorf("SortWithin: it keeps the rows where they are: Partitions is for what moves them")
	}
	return sortedOn(d, "SortWithin", o.keys...)
}

// Union is all rows of all datasets, in no order. Rows that are in several come
// several times.
func Union[T any](first Dataset[T], more ...Dataset[T]) Dataset[T] {
	n := &Node{Kind: UnionNode, Name: "Union", In: []*Node{first.node}, Schema: first.node.Schema}
	for _, d := range more {
		if d.j != first.j {
			first.j.report(fmt.Errorf("Union: the datasets belong to different jobs"))
			continue
		}
		n.In = append(n.In, d.node)
	}
	return then(first.j, n, first.codec)
}

// Cached computes d once and keeps its rows on the workers for all that read it.
// Use it before a dataset that is used more than once and costs much to make.
func Cached[T any](d Dataset[T]) Dataset[T] {
	n := &Node{Kind: CacheNode, Name: "Cached", In: []*Node{d.node}, Schema: d.node.Schema}
	keepPlace(n, d.node)
	if len(n.PartitionedBy) > 0 { // kept by partition: a reader gets several runs of each
		n.SortedBy, n.Ordered = nil, false
	}
	return then(d.j, n, d.codec)
}
