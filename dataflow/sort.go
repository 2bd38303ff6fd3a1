package dataflow

import (
	"fmt"
	"slices"
	"strings"
)

// Sort puts all rows in order of their keys, over all tasks: parts of an output
// are in order one after the other. Rows with equal keys come in no defined order.
// A key may be of any type but slices and maps; structs are ordered by their
// fields in turn.
func Sort[T, K any](d Dataset[T], key func(T) K, opts ...SortOption) Dataset[T] {
	o := sortOptionsOf(opts)
	keyOrder[K](d.j, "Sort")
	pairs := KeyBy(d, key).Named("Sort (key)")
	sorted := sortRange(pairs, "Sort", o.partitions, SortKey{Column: 0, Descending: o.descending})
	return Values(sorted).Named("Sort (rows)")
}

// SortByKey puts pairs in order of their keys, over all tasks.
func SortByKey[K, V any](d Dataset[Pair[K, V]], opts ...SortOption) Dataset[Pair[K, V]] {
	o := sortOptionsOf(opts)
	keyOrder[K](d.j, "SortByKey")
	return sortRange(d, "SortByKey", o.partitions, SortKey{Column: 0, Descending: o.descending})
}

// A SortByOption is for SortBy: Asc, Desc or Partitions.
type SortByOption interface{ forSortBy(*sortByOptions) }

type sortByOptions struct {
	partitions int
	columns    []sortColumn
	keys       []SortKey // of columns, once d is known
}

type sortColumn struct {
	name       string
	descending bool
}

func (c sortColumn) forSortBy(o *sortByOptions)       { o.columns = append(o.columns, c) }
func (n PartitionsOption) forSortBy(o *sortByOptions) { o.partitions = int(n) }

// Asc orders by a column, the smallest first.
func Asc(column string) interface{ SortByOption } { return sortColumn{column, false} }

// Desc orders by a column, the largest first.
func Desc(column string) interface{ SortByOption } { return sortColumn{column, true} }

// SortBy puts all rows in the order of columns, the first one named first. No
// value of a row is looked at by a function, so it is the fastest of the sorts.
//
//	df.SortBy(records, df.Asc("key"))
func SortBy[T any](d Dataset[T], opts ...SortByOption) Dataset[T] {
	if len(opts) == 0 {
		d.j.Errorf("SortBy: no column is named: use Asc or Desc")
		return d
	}
	o := sortByOptionsOf("SortBy", d, opts[0], opts[1:])
	return sortRange(d, "SortBy", o.partitions, o.keys...)
}

// sortByOptionsOf takes the options together and finds the columns they name.
func sortByOptionsOf[T any](call string, d Dataset[T], first SortByOption, more []SortByOption) sortByOptions {
	var o sortByOptions
	first.forSortBy(&o)
	for _, f := range more {
		f.forSortBy(&o)
	}
	for _, c := range o.columns {
		at := d.node.Schema.FieldIndices(c.name)
		if len(at) == 0 {
			if d.codec != nil {
				d.j.Errorf("%s: there is no column %q (the columns are %s)", call, c.name, columnNames(d))
			}
			continue
		}
		o.keys = append(o.keys, SortKey{Column: at[0], Descending: c.descending})
		if l := d.codec.columnAt(at[0]); l.cmp == nil {
			d.j.Errorf("%s: column %q has no order: it holds a slice or map", call, c.name)
		}
	}
	if len(o.columns) == 0 {
		d.j.Errorf("%s: no column is named: use Asc or Desc", call)
	}
	return o
}

// columnAt is the layout of the i-th column.
func (c *codec[T]) columnAt(i int) *layout {
	if c.asRow {
		return c.fields[i].layout
	}
	return c.layout
}

func columnNames[T any](d Dataset[T]) string {
	var names []string
	for _, f := range d.node.Schema.Fields() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

func sortOptionsOf(opts []SortOption) sortOptions {
	var o sortOptions
	for _, f := range opts {
		f.forSort(&o)
	}
	return o
}

// sortRange moves rows to ranges of keys and sorts each.
func sortRange[T any](d Dataset[T], name string, partitions int, keys ...SortKey) Dataset[T] {
	moved := exchange(d, name+" (ranges)", Exchange{Kind: Range, Keys: slices.Clone(keys), Partitions: partitions})
	out := sortedOn(moved, name, keys...)
	out.node.Ordered = true
	return out
}

// topArgs are the arguments of the operator of kind "topn".
type topArgs struct {
	Keys []SortKey `json:"keys"`
	N    int       `json:"n"`
}

// TopN is the n rows with the largest keys, the largest first, in one task.
func TopN[T, K any](d Dataset[T], n int, key func(T) K) Dataset[T] {
	return bestN(d, "TopN", n, key, true)
}

// BottomN is the n rows with the smallest keys, the smallest first, in one task.
func BottomN[T, K any](d Dataset[T], n int, key func(T) K) Dataset[T] {
	return bestN(d, "BottomN", n, key, false)
}

func bestN[T, K any](d Dataset[T], name string, n int, key func(T) K, descending bool) Dataset[T] {
	if n < 0 {
		d.j.report(fmt.Errorf("%s: %d rows make no sense", name, n))
	}
	keyOrder[K](d.j, name)
	best := firstN(KeyBy(d, key).Named(name+" (key)"), name, n, SortKey{Column: 0, Descending: descending})
	return Values(best).Named(name + " (rows)")
}

// firstN is the first n rows in an order: of each task, and then of all.
func firstN[T any](d Dataset[T], name string, n int, key SortKey) Dataset[T] {
	args := topArgs{[]SortKey{key}, n}
	part := builtin(d, name+" (partial)", "topn", args, d.codec)
	one := exchange(part, name+" (to one)", Exchange{Kind: Single})
	out := builtin(one, name, "topn", args, d.codec)
	out.node.SortedBy = []SortKey{key}
	out.node.Ordered = true
	return out
}
