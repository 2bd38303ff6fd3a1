package dataflow

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"
)

// A Side is all rows of a dataset, sent to every task that asks for them. Name it
// in the call whose function uses it:
//
//	rates := df.SideMap(df.Read(j, df.FromCSV[df.Pair[string, float64]](j.Arg(1))))
//	euros := df.MapTask(orders, func(t *df.Task) func(Order) float64 {
//		rate := rates.Get(t)
//		return func(o Order) float64 { return o.Amount * rate[o.Currency] }
//	}, rates)
//
// The rows are held in memory: for what is small beside a task's budget.
type Side[T any] struct {
	node  *Node
	codec *codec[T]
}

// A SideTable is a Side of pairs, by key.
type SideTable[K comparable, V any] struct{ rows Side[Pair[K, V]] }

// AnySide is a Side or a SideTable, in the arguments of MapTask and its like.
type AnySide interface{ side() *Node }

func (s Side[T]) side() *Node         { return s.node }
func (s SideTable[K, V]) side() *Node { return s.rows.node }

// SideInput makes a dataset's rows available to tasks of others.
func SideInput[T any](d Dataset[T]) Side[T] {
	x := exchange(d, "SideInput", Exchange{Kind: Broadcast})
	return Side[T]{x.node, d.codec}
}

// SideMap makes a dataset's pairs available by key. Of pairs with the same key any
// one is kept.
func SideMap[K comparable, V any](d Dataset[Pair[K, V]]) SideTable[K, V] {
	keyHash(d.j, "SideMap", codecFor[K](d.j))
	return SideTable[K, V]{SideInput(d)}
}

// Get reads the rows. Call it once, in the factory, and keep what it returns.
func (s Side[T]) Get(t *Task) []T {
	var out []T
	s.each(t, func(v *T) { out = append(out, *v) })
	return out
}

// Get reads the pairs. Call it once, in the factory, and keep what it returns.
func (s SideTable[K, V]) Get(t *Task) map[K]V {
	out := map[K]V{}
	s.rows.each(t, func(p *Pair[K, V]) { out[p.Key] = p.Value })
	return out
}

func (s Side[T]) each(t *Task, f func(*T)) {
	if !slices.Contains(t.node.Sides, s.node) {
		t.Fail(fmt.Errorf("the side input of %s is not named in the call: pass it as the last argument", s.node.Site))
	}
	if err := s.read(t, f); err != nil {
		t.Fail(err)
	}
}

func (s Side[T]) read(t *Task, f func(*T)) (err error) {
	in, err := t.env.Side(t.Context(), s.node.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for {
		b, err := in.Next(t.Context())
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err = t.keep(batchBytes(b)); err == nil {
			get := s.codec.reader(b)
			v := new(T)
			for i := range int(b.NumRows()) {
				get(i, unsafe.Pointer(v))
				f(v)
			}
		}
		b.Release()
		if err != nil {
			return err
		}
	}
}

// batchBytes is what a batch's buffers hold, and as much again for the values made
// of them.
func batchBytes(b Batch) int64 {
	var n uint64
	for _, c := range b.Columns() {
		n += c.Data().SizeInBytes()
	}
	return 2 * int64(n)
}

func sideNodes(sides []AnySide) []*Node {
	var out []*Node
	for _, s := range sides {
		out = append(out, s.side())
	}
	return out
}
