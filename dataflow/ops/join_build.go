package ops

import (
	"context"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// built is rows of the build side in memory and the table that finds them.
type built struct {
	mem     held
	enc     *order.Encoder
	batches []dataflow.Batch
	bytes   int64
	rows    order.Locator
	keys    order.Keys
	hash    []uint64
	null    []bool // of the rows, nil while no key was null

	table   table
	next    []int32 // the next row with the same key, or -1; nil where all keys differ
	matched []uint64
	columns [][]arrow.Array // of each column, its arrays in batches

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
	var err error
	if t.enc == nil {
		if t.enc, err = order.NewEncoder(b.Schema(), orderBy(cols)); err != nil {
			return false, err
		}
	}
	n := t.rows.Rows()
	all := n + int(b.NumRows())
	if err := t.enc.Append(&t.keys, b); err != nil {
		return false, err
	}
	size := order.BatchBytes(b)
	// Beside the rows and keys: hash, chain, null and matched of each, and slots.
	need := t.bytes + size + t.keys.Bytes() + 14*int64(all) + slotBytes(all) + bloomBytes(all)
	if all > math.MaxInt32 || !t.mem.try(need-t.mem.n) && !force {
		t.keys.Truncate(n)
		return false, nil
	}
	if t.hashes, err = hashInto(t.hashes, b, cols); err != nil {
		return false, err
	}
	t.hash = append(t.hash, t.hashes...)
	nulls := nullKeys(b, cols)
	if t.null == nil && nulls != nil {
		t.null = make([]bool, n)
	}
	if nulls != nil {
		t.null = append(t.null, nulls...)
	} else if t.null != nil {
		t.null = append(t.null, make([]bool, b.NumRows())...)
	}
	t.batches = append(t.batches, b)
	t.bytes += size
	t.rows.Add(int(b.NumRows()))
	return true, nil
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

// index makes the table. Rows with one key are chained in their order.
func (t *built) index() {
	n := t.rows.Rows()
	t.table.reset(n)
	t.table.bloom.reset(n)
	chains := make([]int32, n)
	t.next = nil
	t.matched = make([]uint64, (n+63)/64)
	for r := n - 1; r >= 0; r-- {
		if t.null != nil && t.null[r] {
			continue
		}
		first, slot := t.table.find(t.hash[r], &t.keys, r, &t.keys)
		if chains[r] = first; first >= 0 {
			t.next = chains
		}
		t.table.put(slot, t.hash[r], int32(r))
		t.table.bloom.add(t.hash[r])
	}
	t.hash = nil
	if n == 0 {
		return
	}
	t.columns = make([][]arrow.Array, t.batches[0].NumCols())
	for c := range t.columns {
		for _, b := range t.batches {
			t.columns[c] = append(t.columns[c], b.Column(c))
		}
	}
}

// after is the next row with the key of row r, or -1.
func (t *built) after(r int32) int32 {
	if t.next == nil {
		return -1
	}
	return t.next[r]
}

// mark notes that the rows from first on have a partner.
func (t *built) mark(first int32) {
	if t.matched[first>>6]>>(first&63)&1 != 0 {
		return // then all of the chain are
	}
	for r := first; r >= 0; r = t.after(r) {
		t.matched[r>>6] |= 1 << (r & 63)
	}
}

// scatterInto moves the rows to s, with the one that is carried.
func (t *built) scatterInto(s *scatter, cols []int) error {
	t.keys, t.hash, t.null = order.Keys{}, nil, nil
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
	releaseBatches(t.batches)
	t.mem.releaseAll()
	*t = built{mem: t.mem, enc: t.enc, carry: t.carry, hashes: t.hashes}
}

func (t *built) close() {
	t.drop()
	if t.carry != nil {
		t.carry.Release()
		t.carry = nil
	}
}
