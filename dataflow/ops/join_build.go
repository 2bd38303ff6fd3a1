package ops

import (
	"context"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// built is rows of the build side that are read into memory, to be indexed or spilled.
type built struct {
	mem     held
	batches []dataflow.Batch
	bytes   int64 // of batches
	rows    order.Locator
	keys    *order.Keys // nil where the key is a whole number: a table may not need them
	enc     *order.Encoder

	carry  dataflow.Batch // found no room
	hashes []uint64
}

// fill takes batches of in until it ends, or memory does; then the batch that found
// no room is carried. With force, the first batch finds room in any case.
func (t *built) fill(ctx context.Context, in dataflow.Stream, cols []int, force bool) (all bool, err error) {
	for {
		b := t.carry
		t.carry = nil
		if b == nil {
			if b, err = in.Next(ctx); err == io.EOF {
				return true, nil
			} else if err != nil {
				return false, err
			}
		}
		ok, err := t.add(b, cols, force && len(t.batches) == 0)
		if err != nil {
			b.Release()
			return false, err
		}
		if !ok {
			t.carry = b
			return false, nil
		}
	}
}

// add takes over b if there is room for it.
func (t *built) add(b dataflow.Batch, cols []int, force bool) (bool, error) {
	n := t.rows.Rows()
	all := n + int(b.NumRows())
	keys := 8 * int64(all)
	if !wholeKey(b.Schema(), cols) {
		if err := t.encode(b, cols); err != nil {
			return false, err
		}
		keys = t.keys.Bytes()
	}
	size := order.BatchBytes(b)
	need := t.bytes + size + keys + tableBytes(all)
	if all > math.MaxInt32 || !t.mem.try(need-t.mem.n) && !force {
		if t.keys != nil {
			t.keys.Truncate(n)
		}
		return false, nil
	}
	t.batches = append(t.batches, b)
	t.bytes += size
	t.rows.Add(int(b.NumRows()))
	return true, nil
}

// encode adds the keys of b.
func (t *built) encode(b dataflow.Batch, cols []int) (err error) {
	if t.keys == nil {
		t.keys = &order.Keys{}
	}
	if t.enc == nil {
		if t.enc, err = order.NewEncoder(b.Schema(), orderBy(cols)); err != nil {
			return err
		}
	}
	return t.enc.Append(t.keys, b)
}

// nullKeys says which rows have a null in some of the columns; nil if none has.
func nullKeys(b dataflow.Batch, cols []int) []bool {
	var nulls []bool
	for _, c := range cols {
		a := b.Column(c)
		d, isDict := a.(*array.Dictionary)
		isDict = isDict && d.Dictionary().NullN() > 0
		if a.NullN() == 0 && !isDict {
			continue
		}
		if nulls == nil {
			nulls = make([]bool, b.NumRows())
		}
		for i := range nulls {
			nulls[i] = nulls[i] || a.IsNull(i) || isDict && d.Dictionary().IsNull(d.GetValueIndex(i))
		}
	}
	return nulls
}

// scatterInto moves the rows to s, with the one that is carried.
func (t *built) scatterInto(s *scatter, cols []int) error {
	t.keys = nil
	if t.carry != nil {
		t.batches = append(t.batches, t.carry)
		t.carry = nil
	}
	var err error
	for len(t.batches) > 0 {
		b := t.batches[0]
		if size := min(order.BatchBytes(b), t.mem.n); size > 0 { // s asks for it anew
			t.mem.release(size)
		}
		if t.hashes, err = hashInto(t.hashes, b, cols); err == nil {
			err = s.add(b, t.hashes, nil)
		}
		if err != nil {
			return err
		}
		t.batches = t.batches[1:]
		b.Release()
	}
	t.drop()
	return nil
}

// drop frees the rows but not the batch that is carried.
func (t *built) drop() {
	t.forget()
	t.mem.releaseAll()
}

// forget is drop, but for what is reserved.
func (t *built) forget() {
	releaseBatches(t.batches)
	*t = built{mem: t.mem, enc: t.enc, carry: t.carry, hashes: t.hashes}
}

func (t *built) close() {
	t.drop()
	if t.carry != nil {
		t.carry.Release()
		t.carry = nil
	}
}
