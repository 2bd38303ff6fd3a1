package block

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

// A Run is rows that follow each other in one of several batches: From up to and
// without To, which is at least one.
type Run struct{ Batch, From, To int32 }

// EncodeRuns is Encode for rows that lie in several batches of the schema: they are
// copied once, straight into the frame, in the order of the runs. It does so for columns
// of numbers, other fixed sizes and text without nulls, and for what fits one frame;
// otherwise it appends nothing and says false: make one batch of the rows then, and
// encode that.
func (e *Encoder) EncodeRuns(dst []byte, batches []dataflow.Batch, runs []Run) ([]byte, bool, error) {
	if !e.flat {
		return dst, false, nil
	}
	if e.columns == nil {
		e.columns = make([]runColumn, len(e.widths))
	}
	defer func() { // do not keep the batches' memory alive
		for i := range e.columns {
			e.columns[i].reset()
		}
	}()
	rows := 0
	for _, r := range runs {
		rows += int(r.To - r.From)
	}
	n := pad8(4 * e.schema.want.NumFields())
	for i := range e.schema.want.NumFields() {
		c := &e.columns[i]
		c.width = e.widths[i]
		for _, b := range batches {
			if i == 0 {
				if err := e.schema.check(b.Schema()); err != nil {
					return dst, false, err
				}
			}
			if !c.add(b.Column(i)) {
				return dst, false, nil
			}
		}
		n += c.measure(runs, rows)
	}
	if n > MaxBody || rows > MaxRows {
		return dst, false, nil
	}
	dst, err := e.frame(dst, n, rows, func(body []byte) { e.writeRuns(body, runs, rows) })
	return dst, err == nil, err
}

// flatWidths are the bytes a value of each column has, 0 for text; false where there is
// a column that EncodeRuns does not take.
func flatWidths(s *arrow.Schema) ([]int, bool) {
	var all []int
	for _, f := range s.Fields() {
		switch t := f.Type.(type) {
		case *arrow.StringType, *arrow.BinaryType:
			all = append(all, 0)
		case *arrow.DictionaryType, *arrow.BooleanType, arrow.NestedType, arrow.ExtensionType:
			return nil, false
		case arrow.FixedWidthDataType:
			if t.BitWidth() < 8 || t.BitWidth()%8 != 0 {
				return nil, false
			}
			all = append(all, t.BitWidth()/8)
		default:
			return nil, false
		}
	}
	return all, true
}

// A runColumn is a column of all the batches. It is used again for the next ones.
type runColumn struct {
	width   int
	offsets [][]int32 // of text
	data    [][]byte  // of others, from the first value on
	text    int       // bytes of the text of all runs
}

// reset forgets the batches.
func (c *runColumn) reset() {
	clear(c.offsets)
	clear(c.data)
	c.offsets, c.data, c.text = c.offsets[:0], c.data[:0], 0
}

// add adds a batch's column, unless it has nulls.
func (c *runColumn) add(a arrow.Array) bool {
	if a.NullN() > 0 {
		return false
	}
	d := a.Data()
	if c.width > 0 {
		c.data = append(c.data, bufferOf(d, 1)[d.Offset()*c.width:])
		return true
	}
	c.offsets = append(c.offsets, arrow.GetOffsets[int32](d, 1))
	c.data = append(c.data, bufferOf(d, 2))
	return true
}

// measure is what the column takes in the body.
func (c *runColumn) measure(runs []Run, rows int) int {
	if c.width > 0 {
		return pad8(c.width * rows)
	}
	for _, r := range runs {
		o := c.offsets[r.Batch]
		c.text += int(o[r.To] - o[r.From])
	}
	return pad8(4*(rows+1)) + pad8(c.text)
}

// writeRuns fills dst, which has the measured size.
func (e *Encoder) writeRuns(dst []byte, runs []Run, rows int) {
	head := pad8(4 * len(e.columns))
	clear(dst[:head]) // no column has nulls
	dst = dst[head:]
	for i := range e.columns {
		c := &e.columns[i]
		if c.width > 0 {
			dst = padded(dst, c.width*rows, func(to []byte) { c.writeFixed(to, runs) })
			continue
		}
		dst = padded(dst, 4*(rows+1), func(to []byte) { c.writeOffsets(to, runs) })
		dst = padded(dst, c.text, func(to []byte) { c.writeText(to, runs) })
	}
}

// padded lets write fill the first n bytes of dst, clears those up to a multiple of eight
// and returns what follows.
func padded(dst []byte, n int, write func(to []byte)) []byte {
	end := pad8(n)
	clear(dst[n:end])
	write(dst[:n])
	return dst[end:]
}

func (c *runColumn) writeFixed(to []byte, runs []Run) {
	for _, r := range runs {
		to = to[copy(to, c.data[r.Batch][int(r.From)*c.width:int(r.To)*c.width]):]
	}
}

func (c *runColumn) writeOffsets(to []byte, runs []Run) {
	at := int32(0)
	binary.LittleEndian.PutUint32(to, 0)
	to = to[4:]
	for _, r := range runs {
		o := c.offsets[r.Batch][r.From : r.To+1]
		shift := at - o[0]
		dst := to[:4*(len(o)-1)]
		for i, end := range o[1:] {
			binary.LittleEndian.PutUint32(dst[4*i:], uint32(end+shift))
		}
		to = to[len(dst):]
		at = o[len(o)-1] + shift
	}
}

func (c *runColumn) writeText(to []byte, runs []Run) {
	for _, r := range runs {
		o := c.offsets[r.Batch]
		to = to[copy(to, c.data[r.Batch][o[r.From]:o[r.To]]):]
	}
}
