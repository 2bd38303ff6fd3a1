package order

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

// Merge makes one sorted stream of several: rows come by keys, and rows alike by
// the position of their input, in the order they have there. It owns the inputs.
// It holds one batch of each input and reserves their sizes
// in env.Memory, unless reserved says that the caller has.
func Merge(env *dataflow.Env, keys []dataflow.SortKey, in []dataflow.Stream, reserved bool) dataflow.Stream {
	if len(in) == 1 {
		return in[0]
	}
	m := &merger{env: env, keys: keys, in: make([]mergeInput, len(in)), reserve: !reserved}
	for i, s := range in {
		m.in[i].stream = s
	}
	return m
}

// merger is a tree of losers: tree[0] is the input whose row comes first, every
// other node the loser of the match played there.
type merger struct {
	env     *dataflow.Env
	keys    []dataflow.SortKey
	schema  *arrow.Schema // of the first batch, which makes the encoder too
	enc     *Encoder
	in      []mergeInput
	tree    []int32
	reserve bool

	// batches that refs point into: the inputs' current ones and those they have
	// left since the last output.
	batches []dataflow.Batch
	sizes   []int64 // what is reserved for each
	refs    []Ref
	bytes   float64 // estimate of what refs name
	err     error   // final
}

type mergeInput struct {
	stream dataflow.Stream
	keys   Keys
	row    int
	slot   int     // of the batch in merger.batches
	each   float64 // bytes of a row
	done   bool
}

// Next implements dataflow.Stream.
func (m *merger) Next(ctx context.Context) (dataflow.Batch, error) {
	if m.err != nil {
		return nil, m.err
	}
	b, err := m.next(ctx)
	if err != nil {
		m.err = err
	}
	return b, err
}

func (m *merger) next(ctx context.Context) (dataflow.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.tree == nil {
		if err := m.start(ctx); err != nil {
			return nil, err
		}
	}
	rows, size := BatchLimits(m.env)
	for len(m.refs) < rows && m.bytes < float64(size) && len(m.in) > 0 {
		w := m.tree[0]
		in := &m.in[w]
		if in.done {
			break
		}
		m.refs = append(m.refs, Ref{int32(in.slot), int32(in.row)})
		m.bytes += in.each
		in.row++
		if in.row == in.keys.Len() {
			if err := m.load(ctx, in); err != nil {
				return nil, err
			}
		}
		m.replay(w)
	}
	if len(m.refs) == 0 {
		return nil, io.EOF
	}
	out, err := Take(m.env.Alloc, m.schema, m.batches, m.refs)
	if err != nil {
		return nil, err
	}
	m.refs, m.bytes = m.refs[:0], 0
	m.drop()
	return out, nil
}

// load gets the next batch of an input; its last one stays while rows of it wait.
func (m *merger) load(ctx context.Context, in *mergeInput) error {
	b, err := in.stream.Next(ctx)
	if err == io.EOF {
		in.done = true
		in.keys.Reset()
		in.slot = -1
		return nil
	}
	if err != nil {
		return err
	}
	in.keys.Reset()
	if m.enc == nil {
		m.schema = b.Schema()
		if m.enc, err = NewEncoder(m.schema, m.keys); err != nil {
			b.Release()
			return err
		}
	}
	if err := m.enc.Append(&in.keys, b); err != nil {
		b.Release()
		return err
	}
	size := BatchBytes(b)
	if m.reserve {
		if err := m.env.Memory.Reserve(size); err != nil {
			b.Release()
			return err
		}
	}
	in.row, in.slot, in.each = 0, len(m.batches), float64(size)/float64(b.NumRows())
	m.batches, m.sizes = append(m.batches, b), append(m.sizes, size)
	return nil
}

// drop releases the batches that no input stands in any more.
func (m *merger) drop() {
	live := 0
	for i := range m.in {
		if !m.in[i].done {
			live++
		}
	}
	if live == len(m.batches) {
		return
	}
	batches, sizes := m.batches, m.sizes
	m.batches, m.sizes = make([]dataflow.Batch, 0, len(batches)), make([]int64, 0, len(batches))
	for i := range m.in {
		if in := &m.in[i]; !in.done {
			m.batches, m.sizes = append(m.batches, batches[in.slot]), append(m.sizes, sizes[in.slot])
			batches[in.slot] = nil
			in.slot = len(m.batches) - 1
		}
	}
	for i, b := range batches {
		if b != nil {
			m.free(b, sizes[i])
		}
	}
}

func (m *merger) free(b dataflow.Batch, size int64) {
	b.Release()
	if m.reserve {
		m.env.Memory.Release(size)
	}
}

func (m *merger) start(ctx context.Context) error {
	for i := range m.in {
		if err := m.load(ctx, &m.in[i]); err != nil {
			return err
		}
	}
	n := len(m.in)
	m.tree = make([]int32, max(n, 1))
	if n > 0 {
		m.tree[0] = m.play(1)
	}
	return nil
}

// play fills the tree below a node and returns the winner. Nodes n..2n-1 are the
// inputs.
func (m *merger) play(node int) int32 {
	n := len(m.in)
	if node >= n {
		return int32(node - n)
	}
	a, b := m.play(2*node), m.play(2*node+1)
	if m.before(b, a) {
		a, b = b, a
	}
	m.tree[node] = b
	return a
}

// replay lets input w, which has changed, play its way up.
func (m *merger) replay(w int32) {
	for node := (int(w) + len(m.in)) / 2; node > 0; node /= 2 {
		if l := m.tree[node]; m.before(l, w) {
			m.tree[node], w = w, l
		}
	}
	m.tree[0] = w
}

func (m *merger) before(a, b int32) bool {
	x, y := &m.in[a], &m.in[b]
	if x.done || y.done {
		return !x.done
	}
	c := x.keys.Compare(x.row, &y.keys, y.row)
	return c < 0 || c == 0 && a < b
}

// Close implements dataflow.Stream.
func (m *merger) Close() error {
	for i, b := range m.batches {
		m.free(b, m.sizes[i])
	}
	m.batches, m.sizes, m.refs = nil, nil, nil
	m.err = errClosed
	var errs []error
	for i := range m.in {
		errs = append(errs, m.in[i].stream.Close())
	}
	m.in = nil
	return errors.Join(errs...)
}

var errClosed = errors.New("read from a closed stream")
