package order

import (
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

func takeText32(mem memory.Allocator, chunks []arrow.Array, refs []Ref) (off, vals *memory.Buffer, err error) {
	src := make([]text, len(chunks))
	for i, c := range chunks {
		src[i] = textOf(c)
	}
	off = newBuffer(mem, 4*(len(refs)+1))
	offs := arrow.GetData[int32](off.Bytes())
	var total int64
	for i, r := range refs {
		offs[i] = int32(total)
		if r.Batch >= 0 {
			o := src[r.Batch].off32
			total += int64(o[r.Row+1] - o[r.Row])
		}
		if total > math.MaxInt32 {
			off.Release()
			return nil, nil, tooMuch(i + 1)
		}
	}
	offs[len(refs)] = int32(total)
	vals = newBuffer(mem, int(total))
	data := vals.Bytes()
	for i, r := range refs {
		if r.Batch >= 0 {
			s := &src[r.Batch]
			copy(data[offs[i]:], s.data[s.off32[r.Row]:s.off32[r.Row+1]])
		}
	}
	return off, vals, nil
}

func takeText64(mem memory.Allocator, chunks []arrow.Array, refs []Ref) (off, vals *memory.Buffer) {
	src := make([]text, len(chunks))
	for i, c := range chunks {
		src[i] = textOf(c)
	}
	off = newBuffer(mem, 8*(len(refs)+1))
	offs := arrow.GetData[int64](off.Bytes())
	var total int64
	for i, r := range refs {
		offs[i] = total
		if r.Batch >= 0 {
			total += int64(len(src[r.Batch].value(int(r.Row))))
		}
	}
	offs[len(refs)] = total
	vals = newBuffer(mem, int(total))
	data := vals.Bytes()
	for i, r := range refs {
		if r.Batch >= 0 {
			copy(data[offs[i]:], src[r.Batch].value(int(r.Row)))
		}
	}
	return off, vals
}

func tooMuch(rows int) error {
	return &dataflow.Error{Op: "order.Take", Kind: dataflow.User,
		Err: fmt.Errorf("%w: %d rows hold more than 2 GiB in one column", dataflow.ErrRecordTooLarge, rows),
		Try: "use smaller batches, or a large string or binary column"}
}
