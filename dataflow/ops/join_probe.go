package ops

import (
	"context"
	"errors"
	"io"

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

	probed, found []order.Ref // what the next batch is made of
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
	cols := p.keysOf(p.probe)
	if p.enc == nil {
		if p.enc, err = order.NewEncoder(b.Schema(), orderBy(cols)); err != nil {
			return err
		}
	}
	p.keys.Reset()
	if err := p.enc.Append(&p.keys, b); err != nil {
		return err
	}
	if p.hashes, err = hashInto(p.hashes, b, cols); err != nil {
		return err
	}
	n := len(p.hashes)
	if cap(p.joinStream.heads) < n {
		p.joinStream.heads = make([]int32, n)
	}
	p.heads = p.joinStream.heads[:n]
	p.built.table.findAll(p.heads, p.hashes, &p.keys, &p.built.keys)
	for i, null := range nullKeys(b, cols) {
		if null {
			p.heads[i] = -1
		}
	}
	return nil
}

// match collects what comes out for rows of b until a batch is full, which it
// says, or b ends.
func (p *probing) match() (more bool) {
	limit := p.limit(p.each)
	n := int(p.b.NumRows())
	for ; p.row < n; p.row++ {
		if len(p.probed) >= limit {
			return true
		}
		me := order.Ref{Row: int32(p.row)}
		if p.last {
			if !p.wasSeen() {
				p.add(me, order.NullRef)
			}
			continue
		}
		first := p.heads[p.row]
		if first < 0 {
			if p.probeUnmatched && !p.block {
				p.add(me, order.NullRef)
			}
			continue
		}
		if !p.inChain {
			if p.buildMatched || p.buildUnmatched {
				p.built.mark(first)
			}
			if p.seen != nil {
				if p.wasSeen() && p.probeMatched {
					continue
				}
				at := p.base + int64(p.row)
				p.seen[at>>6] |= 1 << (at & 63)
			}
			if p.probeMatched {
				p.add(me, order.NullRef)
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
			p.add(me, p.built.rows.Ref(p.chain))
			p.chain = p.built.after(p.chain)
		}
		p.inChain = false
	}
	return false
}

func (p *probing) wasSeen() bool {
	at := p.base + int64(p.row)
	return p.seen[at>>6]>>(at&63)&1 != 0
}

func (p *probing) add(probe, build order.Ref) {
	p.probed, p.found = append(p.probed, probe), append(p.found, build)
}

// limit is how many rows a batch of output should have.
func (p *probing) limit(each float64) int {
	rows, size := order.BatchLimits(p.env)
	if n := p.built.rows.Rows(); n > 0 && (p.pairs || p.b == nil) {
		each += float64(p.built.bytes) / float64(n)
	}
	if each > 0 {
		rows = min(rows, int(float64(size)/each))
	}
	return max(rows, 1)
}

// unpaired collects built rows that come out alone.
func (p *probing) unpaired() {
	limit, n := p.limit(0), p.built.rows.Rows()
	for ; p.alone < n && len(p.found) < limit; p.alone++ {
		matched := p.built.matched[p.alone>>6]>>(p.alone&63)&1 != 0
		if matched && p.buildMatched || !matched && p.buildUnmatched {
			p.add(order.NullRef, p.built.rows.Ref(int32(p.alone)))
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
	if side == p.build {
		var chunks []arrow.Array
		if c < len(p.built.columns) {
			chunks = p.built.columns[c]
		}
		return order.TakeColumn(p.env.Alloc, t, chunks, p.found)
	}
	var chunks []arrow.Array
	if p.b != nil {
		chunks = []arrow.Array{p.b.Column(c)}
		if p.wholeBatch() {
			chunks[0].Retain()
			return chunks[0], nil
		}
	}
	return order.TakeColumn(p.env.Alloc, t, chunks, p.probed)
}

// wholeBatch says that just every row of b comes out once, as it is.
func (p *probing) wholeBatch() bool {
	if len(p.probed) != int(p.b.NumRows()) {
		return false
	}
	for i, r := range p.probed {
		if int(r.Row) != i || r.Batch < 0 {
			return false
		}
	}
	return true
}

func (p *probing) close() error {
	if p.b != nil {
		p.b.Release()
		p.b = nil
	}
	return p.in.Close()
}
