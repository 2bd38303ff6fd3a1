package ops

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// probing is one pass of the probe side over the rows that are built, and then
// over those of them that come out alone.
type probing struct {
	*joinStream
	in    dataflow.Stream
	block bool // one of several passes: seen says what the others found
	last  bool // of these, the one that only gives the rows that found nothing

	b     dataflow.Batch // at hand
	base  int64          // rows before b
	heads []int32        // of each row of b, its first partner or -1
	row   int            // of b
	chain int32          // the partner that comes next, if inChain
	each  float64        // bytes of a row of b

	inChain bool
	ended   bool
	alone   int // built rows looked at after the end

	probed, found []int32 // what the next batch is made of; -1 is a row of nulls
	slice         bool    // probed are a good part of b, which that keeps in memory
}

// next gives a batch, or io.EOF after the last.
func (p *probing) next(ctx context.Context) (dataflow.Batch, error) {
	for !p.ended {
		if p.b == nil {
			if err := p.load(ctx); err == io.EOF {
				p.ended = true
				break
			} else if err != nil {
				return nil, err
			}
		}
		more := p.match()
		out, err := p.emit()
		if err != nil {
			return nil, err
		}
		if !more {
			p.base += p.b.NumRows()
			p.b.Release()
			p.b = nil
		}
		if out != nil {
			return out, nil
		}
	}
	if !p.buildMatched && !p.buildUnmatched || p.last {
		return nil, io.EOF
	}
	p.unpaired()
	if len(p.found) == 0 {
		return nil, io.EOF
	}
	return p.emit()
}

// load gets the next probe batch and looks all its keys up.
func (p *probing) load(ctx context.Context) error {
	b, err := p.in.Next(ctx)
	if err != nil {
		return err
	}
	p.b, p.row, p.inChain = b, 0, false
	p.each = float64(order.BatchBytes(b)) / float64(b.NumRows())
	p.schemas[p.probe] = b.Schema()
	if p.last {
		return nil
	}
	p.heads, err = p.lookup.find(p.finder, b, p.keysOf(p.probe))
	return err
}

// match collects what comes out for rows of b until a batch is full, which it
// says, or b ends.
func (p *probing) match() (more bool) {
	limit := p.limit(p.each)
	n := int(p.b.NumRows())
	if p.plain() {
		for p.row < n && len(p.probed) < limit {
			to := min(n, p.row+limit-len(p.probed))
			p.matchPlain(to)
			p.row = to
		}
		return p.row < n
	}
	for ; p.row < n; p.row++ {
		if len(p.probed) >= limit {
			return true
		}
		me := int32(p.row)
		if p.last {
			if !p.wasSeen() {
				p.add(me, -1)
			}
			continue
		}
		first := p.heads[p.row]
		if first < 0 {
			if p.probeUnmatched && !p.block {
				p.add(me, -1)
			}
			continue
		}
		if !p.inChain {
			if p.buildMatched || p.buildUnmatched {
				p.mark(first)
			}
			if p.seen != nil {
				if p.wasSeen() && p.probeMatched {
					continue
				}
				at := p.base + int64(p.row)
				p.seen[at>>6] |= 1 << (at & 63)
			}
			if p.probeMatched {
				p.add(me, -1)
			}
			if !p.pairs {
				continue
			}
			p.chain, p.inChain = first, true
		}
		for p.chain >= 0 {
			if len(p.probed) >= limit {
				return true
			}
			p.add(me, p.chain)
			p.chain = p.finder.after(p.chain)
		}
		p.inChain = false
	}
	return false
}

// plain says that what comes out for a row has to do with its first partner alone, and
// that nothing is to be noted of it.
func (p *probing) plain() bool {
	return !p.block && p.seen == nil && p.matched == nil && (p.finder.next == nil || !p.pairs)
}

// matchPlain is match, where it is plain, of the rows up to one.
func (p *probing) matchPlain(to int) {
	k := len(p.probed)
	p.probed = slices.Grow(p.probed, to-p.row)[:k+to-p.row]
	if p.pairs {
		p.found = slices.Grow(p.found, to-p.row)[:k+to-p.row]
	}
	switch {
	case p.pairs && p.probeUnmatched:
		copy(p.found[k:], p.heads[p.row:to])
		for i := p.row; i < to; i++ {
			p.probed[k] = int32(i)
			k++
		}
	case p.pairs:
		k = withPartner(p.probed, p.found, k, p.heads[:to], p.row)
	default:
		k = withAny(p.probed, k, p.heads[:to], p.row, p.probeUnmatched)
	}
	p.probed, p.found = p.probed[:k], p.found[:min(k, len(p.found))]
}

// withPartner collects, from the k-th place on, the rows from one on that have a partner,
// and that. It gives the place after the last.
func withPartner(probed, found []int32, k int, heads []int32, row int) int {
	for i := row; i < len(heads); i++ {
		probed[k], found[k] = int32(i), heads[i]
		k += int(^uint32(heads[i]) >> 31)
	}
	return k
}

// withAny is withPartner of the rows alone, of those that have a partner or have none.
func withAny(probed []int32, k int, heads []int32, row int, none bool) int {
	flip := ^uint32(0)
	if none {
		flip = 0
	}
	for i := row; i < len(heads); i++ {
		probed[k] = int32(i)
		k += int((uint32(heads[i]) ^ flip) >> 31)
	}
	return k
}

func (p *probing) wasSeen() bool {
	at := p.base + int64(p.row)
	return p.seen[at>>6]>>(at&63)&1 != 0
}

func (p *probing) add(probe, build int32) {
	p.probed, p.found = append(p.probed, probe), append(p.found, build)
}

// limit is how many rows a batch of output should have.
func (p *probing) limit(each float64) int {
	rows, size := order.BatchLimits(p.env)
	if n := p.finder.places.Rows(); n > 0 && (p.pairs || p.b == nil) {
		each += float64(p.finder.bytes) / float64(n)
	}
	if each > 0 {
		rows = min(rows, int(float64(size)/each))
	}
	return max(rows, 1)
}

// unpaired collects built rows that come out alone.
func (p *probing) unpaired() {
	limit, n := p.limit(0), p.finder.places.Rows()
	for ; p.alone < n && len(p.found) < limit; p.alone++ {
		matched := p.matched[p.alone>>6]>>(p.alone&63)&1 != 0
		if matched && p.buildMatched || !matched && p.buildUnmatched {
			p.add(-1, int32(p.alone))
		}
	}
}

// emit makes a batch of what is collected, nil of nothing.
func (p *probing) emit() (dataflow.Batch, error) {
	if len(p.probed) == 0 {
		return nil, nil
	}
	defer func() { p.probed, p.found = p.probed[:0], p.found[:0] }()
	if p.out == nil {
		if p.schemas[left] == nil || p.pairs && p.schemas[right] == nil {
			return nil, &dataflow.Error{Op: "ops.hashjoin", Kind: dataflow.Fatal,
				Err: errors.New("a side without rows was not planned: Schema must be called before Open")}
		}
		p.out = p.schemaOf(p.schemas[left], p.schemas[right])
	}
	cols := make([]arrow.Array, 0, p.out.NumFields())
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	p.slice = p.b != nil && len(p.probed) >= int(p.b.NumRows())/4 && inARow(p.probed)
	for _, side := range []int{left, right} {
		if side == right && !p.pairs {
			break
		}
		for _, c := range p.columnsOf(side, p.schemas[side]) {
			col, err := p.column(side, c)
			if err != nil {
				return nil, err
			}
			cols = append(cols, col)
		}
	}
	return array.NewRecordBatch(p.out, cols, int64(len(p.probed))), nil
}

// column gathers one column of one side.
func (p *probing) column(side, c int) (arrow.Array, error) {
	t := p.schemas[side].Field(c).Type
	switch {
	case side == p.build && c < len(p.finder.columns):
		return p.finder.columns[c].take(p.env.Alloc, t, &p.finder.places, p.found)
	case side == p.probe && p.b != nil:
		if first := p.probed[0]; p.slice {
			return array.NewSlice(p.b.Column(c), int64(first), int64(first)+int64(len(p.probed))), nil
		}
		return takeRows(p.env.Alloc, p.b.Column(c), p.probed)
	}
	return (&builtColumn{}).take(p.env.Alloc, t, nil, slices.Repeat([]int32{-1}, len(p.probed)))
}

// inARow says that rows follow each other, none left out.
func inARow(rows []int32) bool {
	for i, r := range rows {
		if r != rows[0]+int32(i) {
			return false
		}
	}
	return true
}

// mark notes that the built rows from first on have a partner.
func (p *probing) mark(first int32) {
	if p.matched[first>>6]>>(first&63)&1 != 0 {
		return // then all of the chain are
	}
	for r := first; r >= 0; r = p.finder.after(r) {
		p.matched[r>>6] |= 1 << (r & 63)
	}
}

func (p *probing) close() error {
	if p.b != nil {
		p.b.Release()
		p.b = nil
	}
	return p.in.Close()
}
