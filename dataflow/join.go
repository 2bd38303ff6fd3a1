package dataflow

import (
	"fmt"
	"reflect"

	"github.com/apache/arrow-go/v18/arrow"
)

// Joined is a row of either side of a join. A side that may be missing is a
// pointer, nil where there was no partner.
type Joined[A, B any] struct {
	Left  A `df:"left"`
	Right B `df:"right"`
}

// Join is each pair of rows with the same key.
//
// For all joins: a key that is absent (the zero time) has no partner. A join hashes
// one side, spills what does not fit in memory, and bears keys of any frequency.
func Join[K comparable, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], opts ...JoinOption) Dataset[Pair[K, Joined[A, B]]] {
	return joined(left, right, "Join", "inner", opts, func(*arena[A], *arena[B]) func(*joinedRow[K, A, B]) Joined[A, B] {
		return func(r *joinedRow[K, A, B]) Joined[A, B] { return Joined[A, B]{r.left, r.right} }
	})
}

// LeftJoin is Join, and the rows of the left side that have no partner.
func LeftJoin[K comparable, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], opts ...JoinOption) Dataset[Pair[K, Joined[A, *B]]] {
	return joined(left, right, "LeftJoin", "left", opts, func(_ *arena[A], b *arena[B]) func(*joinedRow[K, A, B]) Joined[A, *B] {
		return func(r *joinedRow[K, A, B]) Joined[A, *B] { return Joined[A, *B]{r.left, b.keep(r.hasRight, r.right)} }
	})
}

// RightJoin is Join, and the rows of the right side that have no partner.
func RightJoin[K comparable, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], opts ...JoinOption) Dataset[Pair[K, Joined[*A, B]]] {
	return joined(left, right, "RightJoin", "right", opts, func(a *arena[A], _ *arena[B]) func(*joinedRow[K, A, B]) Joined[*A, B] {
		return func(r *joinedRow[K, A, B]) Joined[*A, B] { return Joined[*A, B]{a.keep(r.hasLeft, r.left), r.right} }
	})
}

// FullJoin is Join, and the rows of either side that have no partner.
func FullJoin[K comparable, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], opts ...JoinOption) Dataset[Pair[K, Joined[*A, *B]]] {
	return joined(left, right, "FullJoin", "full", opts, func(a *arena[A], b *arena[B]) func(*joinedRow[K, A, B]) Joined[*A, *B] {
		return func(r *joinedRow[K, A, B]) Joined[*A, *B] {
			return Joined[*A, *B]{a.keep(r.hasLeft, r.left), b.keep(r.hasRight, r.right)}
		}
	})
}

// SemiJoin is the rows of the left side whose key the right side has, each once.
func SemiJoin[K comparable, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], opts ...JoinOption) Dataset[Pair[K, A]] {
	return filtered(left, right, "SemiJoin", "semi", opts)
}

// AntiJoin is the rows of the left side whose key the right side does not have.
func AntiJoin[K comparable, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], opts ...JoinOption) Dataset[Pair[K, A]] {
	return filtered(left, right, "AntiJoin", "anti", opts)
}

// joinArgs are the arguments of the operator of kind "hashjoin".
type joinArgs struct {
	LeftKeys  []int  `json:"left_keys"`
	RightKeys []int  `json:"right_keys"`
	Type      string `json:"type"`
	Build     string `json:"build"`
}

// hashJoin brings two sides together and adds the operator that pairs their rows.
func hashJoin[K comparable, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], name, how string, opts []JoinOption) *Node {
	j := left.j
	var o joinOptions
	for _, f := range opts {
		f.forJoin(&o)
	}
	key := codecFor[K](j)
	keyHash(j, name, key)
	outer := how == "left" || how == "right" || how == "full"
	if key != nil && key.nullable && outer {
		j.report(fmt.Errorf("%s: a key of type %s may be absent, which an outer join cannot tell from a row without partner: use another key, as its UnixNano", name, reflect.TypeFor[K]()))
	}
	if right.j != j {
		j.report(fmt.Errorf("%s: the two sides belong to different jobs", name))
	}
	n := &Node{Kind: OperatorNode, Name: name, Ref: Ref{Kind: "hashjoin", Args: encodeArgs(joinArgs{[]int{0}, []int{0}, how, "right"})}}
	n.Rowwise = leftAlone(how)
	if o.broadcast {
		if how == "right" || how == "full" {
			j.Errorf("%s: BroadcastRight would give a right row without partner once per task: leave it out, or swap the sides", name)
		}
		if o.partitions > 0 {
			j.Errorf("%s: Partitions means nothing with BroadcastRight: the left side stays where it is", name)
		}
		n.In = []*Node{left.node, exchange(right, name+" (right, to all)", Exchange{Kind: Broadcast}).node}
		keepKey(n, left.node)
		n.SortedBy, n.Ordered = nil, false
	} else {
		l := meetByKey(left, name+" (left)", o.partitions)
		n.In = []*Node{l.node, meetByKey(right, name+" (right)", o.partitions).node}
		if leftAlone(how) {
			n.PartitionedBy = []int{0}
		}
	}
	n.Schema = joinSchema(left.node.Schema, right.node.Schema, how)
	return n
}

// leftAlone says of a type of join that what comes out for a row of the left side does not
// depend on the others: where right rows without a partner come out, it does.
func leftAlone(how string) bool { return how != "right" && how != "full" }

// joinSchema is the left columns and then the right, nullable where a side may be
// missing.
func joinSchema(left, right *arrow.Schema, how string) *arrow.Schema {
	var fields []arrow.Field
	for _, f := range left.Fields() {
		f.Nullable = f.Nullable || how == "right" || how == "full"
		fields = append(fields, f)
	}
	if how == "semi" || how == "anti" {
		return arrow.NewSchema(fields, nil)
	}
	for _, f := range right.Fields() {
		f.Nullable = f.Nullable || how == "left" || how == "full"
		fields = append(fields, f)
	}
	return arrow.NewSchema(fields, nil)
}

func filtered[K comparable, A, B any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], name, how string, opts []JoinOption) Dataset[Pair[K, A]] {
	// Only the right side's keys travel, each once from each task.
	keys := apply(right, name+" (keys)", func(r *run, at int, emit func(Pair[K, bool])) (func(Pair[K, B]), func()) {
		p := newPartial(r, at, codecOrNil[K](), emit)
		return func(v Pair[K, B]) { p.add(v.Key, true, func(a, _ bool) bool { return a }) }, p.flush
	})
	if n := right.node; len(n.PartitionedBy) == 1 && n.PartitionedBy[0] == 0 {
		keys.node.PartitionedBy = []int{0}
	}
	return then(left.j, hashJoin(left, keys, name, how, opts), left.codec)
}

// codecOrNil is for types that were mapped before.
func codecOrNil[T any]() *codec[T] {
	c, _ := codecOf[T]()
	return c
}

// joinedRow is a row as the hash join makes it.
type joinedRow[K, A, B any] struct {
	key               K
	left              A
	right             B
	hasLeft, hasRight bool
}

// arena makes room for values that are pointed to, many at a time.
type arena[T any] struct{ room []T }

func (a *arena[T]) keep(there bool, v T) *T {
	if !there {
		return nil
	}
	if len(a.room) == 0 {
		a.room = make([]T, 64)
	}
	p := &a.room[0]
	a.room = a.room[1:]
	*p = v
	return p
}

func joined[K comparable, A, B, L, R any](left Dataset[Pair[K, A]], right Dataset[Pair[K, B]], name, how string, opts []JoinOption,
	shape func(*arena[A], *arena[B]) func(*joinedRow[K, A, B]) Joined[L, R]) Dataset[Pair[K, Joined[L, R]]] {
	j := left.j
	out := codecFor[Pair[K, Joined[L, R]]](j)
	pairs := j.add(hashJoin(left, right, name, how, opts))
	n := &Node{Kind: OperatorNode, Name: name + " (rows)", In: []*Node{pairs}, PartitionedBy: pairs.PartitionedBy, Rowwise: true}
	rows := &joinFeeder[K, A, B]{left: left.codec, right: right.codec}
	n.Op = &typed[*joinedRow[K, A, B], Pair[K, Joined[L, R]]]{node: n, from: rows, out: out,
		open: func(r *run, at int, emit func(Pair[K, Joined[L, R]])) (func(*joinedRow[K, A, B]), func()) {
			f := shape(&arena[A]{}, &arena[B]{})
			return func(row *joinedRow[K, A, B]) {
				r.at = at
				emit(Pair[K, Joined[L, R]]{row.key, f(row)})
			}, nil
		}}
	return then(j, n, out)
}
