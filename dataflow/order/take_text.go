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
	off = dataflow.NewBuffer(mem, 4*(len(refs)+1))
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
	vals = dataflow.NewBuffer(mem, int(total))
	data := vals.Bytes()
	for i := 0; i < len(refs); {
		r, next := refs[i], runEnd(refs, i)
		if r.Batch >= 0 {
			s := &src[r.Batch]
			copyText(data, s.data, int(offs[i]), int(s.off32[r.Row]), int(offs[next]-offs[i]))
		}
		i = next
	}
	return off, vals, nil
}

func takeText64(mem memory.Allocator, chunks []arrow.Array, refs []Ref) (off, vals *memory.Buffer) {
	src := make([]text, len(chunks))
	for i, c := range chunks {
		src[i] = textOf(c)
	}
	off = dataflow.NewBuffer(mem, 8*(len(refs)+1))
	offs := arrow.GetData[int64](off.Bytes())
	var total int64
	for i, r := range refs {
		offs[i] = total
		if r.Batch >= 0 {
			total += int64(len(src[r.Batch].value(int(r.Row))))
		}
	}
	offs[len(refs)] = total
	vals = dataflow.NewBuffer(mem, int(total))
	data := vals.Bytes()
	for i := 0; i < len(refs); {
		r, next := refs[i], runEnd(refs, i)
		if r.Batch >= 0 {
			s := &src[r.Batch]
			copyText(data, s.data, int(offs[i]), int(s.off64[r.Row]), int(offs[next]-offs[i]))
		}
		i = next
	}
	return off, vals
}

// runEnd is where the rows that follow each other in their batch end, of which refs[i] is
// the first: they are moved as one.
func runEnd(refs []Ref, i int) int {
	r := refs[i]
	for i++; i < len(refs); i++ {
		if r.Row++; refs[i] != r {
			break
		}
	}
	return i
}

// copyText copies n bytes. Of a short value it copies more than there is, as one move of a
// fixed size, where that stays inside both: what is too much is overwritten by the values
// that follow, since dst is filled in ascending order.
func copyText(dst, src []byte, to, from, n int) {
	const short = 16
	if n <= short && to+short <= len(dst) && from+short <= len(src) {
		*(*[short]byte)(dst[to:]) = *(*[short]byte)(src[from:])
		return
	}
	copy(dst[to:to+n], src[from:from+n])
}

func tooMuch(rows int) error {
	return &dataflow.Error{Op: "order.Take", Kind: dataflow.User,
		Err: fmt.Errorf("%w: %d rows hold more than 2 GiB in one column", dataflow.ErrRecordTooLarge, rows),
		Try: "use smaller batches, or a large string or binary column"}
}
