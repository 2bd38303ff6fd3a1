package parquet

import (
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/divisi-data/divisi/dataflow"
)

// A coded reads a column whose pages are all numbers into a dictionary, codes, of numbers
// or text. A condition on the column alone is worked out once for each value of the
// dictionary, and then only the codes of rows are looked at.
type coded struct {
	flat
	words words       // of text
	known arrow.Array // the words, where it pays to hand on codes; else nil

	given  []uint32 // codes of the rows that were looked at, or are being read
	looked bool     // those are the next rows, which were not given yet
	nulls  []int32
}

func (c *coded) setWords(n int, data []byte) error {
	c.known = nil
	if err := c.words.parse(data, n); err != nil || n > knownWords {
		return err
	}
	c.known = c.words.array(c.typ)
	return nil
}

// knownWords is how many words a dictionary has at most whose codes are handed on.
const knownWords = 1 << 10

// nullCode is a null's.
const nullCode = math.MaxUint32

var errPlain = errors.New("a page has plain values, and its column said that none has")

func outside(c uint32, n int) error { return fmt.Errorf("value %d of a dictionary of %d", c, n) }

// codedColumn says whether a column can be read by a coded: how wide its values are, 0 for
// text.
func codedColumn(d *schema.Column, chunk *metadata.ColumnChunkMetaData, t arrow.DataType) (width int, ok bool) {
	if !allCoded(chunk) {
		return 0, false
	}
	if d.PhysicalType() == parquet.Types.ByteArray {
		return 0, t.ID() == arrow.STRING && plainLevels(d, chunk)
	}
	return flatColumn(d, chunk, t)
}

// allCoded reports whether all data pages hold codes, by what the writer noted.
func allCoded(chunk *metadata.ColumnChunkMetaData) bool {
	const dictionaryPage = 2
	pages := chunk.EncodingStats()
	for _, p := range pages {
		if p.PageType != dictionaryPage && p.Encoding != parquet.Encodings.RLEDict && p.Encoding != parquet.Encodings.PlainDict {
			return false
		}
	}
	return len(pages) > 0
}

// look gives the codes of the next n rows, which next gives afterwards. It may be asked
// again before that.
func (c *coded) look(n int) ([]uint32, error) {
	if c.looked {
		return c.given, nil
	}
	c.looked = true
	err := c.read(n, nil)
	return c.given, err
}

// read fills given with those of n rows, or of those of them that sel names.
func (c *coded) read(n int, sel []int32) error {
	m := n
	if sel != nil {
		m = len(sel)
	}
	if cap(c.given) < m {
		c.given = make([]uint32, m)
	}
	c.given = c.given[:m]
	for done, out := 0, 0; done < n; {
		if c.at == c.rows {
			if err := c.turn(); err != nil {
				return err
			}
			if !c.coded {
				return errPlain
			}
		}
		k := min(n-done, c.rows-c.at)
		want, all := c.wanted(done, k, sel)
		size := len(want)
		if all {
			size = k
		}
		if sel != nil {
			sel = sel[len(want):]
		}
		part := c.given[out : out+size]
		switch {
		case size == 0:
		case all:
			c.codes.read(part, c.at)
		case c.places == nil:
			c.codes.pick(part, want)
		default:
			if err := c.pickSome(part, want); err != nil {
				return err
			}
		}
		out, done = out+size, done+k
		c.at += k
	}
	return nil
}

// pickSome is pick where some of the page's rows are null.
func (c *coded) pickSome(dst []uint32, rows []int32) error {
	c.nulls = append(c.nulls[:0], rows...)
	for i, r := range rows {
		if rows[i] = c.places[r]; rows[i] < 0 {
			rows[i] = ^rows[i]
		}
	}
	if len(c.codes.list) > 0 { // else all of the page is null
		c.codes.pick(dst, rows)
	}
	for i, r := range c.nulls {
		if c.places[r] < 0 {
			dst[i] = nullCode
		} else if int(dst[i]) >= c.entries() {
			return outside(dst[i], c.entries())
		}
	}
	return nil
}

func (c *coded) entries() int {
	if c.width == 0 {
		return c.words.size()
	}
	return len(c.dict) / c.width
}

// next implements column.
func (c *coded) next(n int, sel []int32) (arrow.Array, error) {
	switch {
	case !c.looked:
		if err := c.read(n, sel); err != nil {
			return nil, err
		}
	case sel != nil:
		for i, s := range sel {
			c.given[i] = c.given[s]
		}
		c.given = c.given[:len(sel)]
	}
	c.looked = false
	return c.array(c.given)
}

// array makes an array of values by their codes.
func (c *coded) array(codes []uint32) (arrow.Array, error) {
	valid, nulls := c.valid(codes)
	if valid != nil {
		defer valid.Release()
	}
	buffers := []*memory.Buffer{valid, nil}
	if c.width == 0 {
		ends, text, err := c.words.spell(c.mem, codes)
		if err != nil {
			return nil, err
		}
		if c.known != nil {
			return c.handOn(codes, nulls, valid, ends, text), nil
		}
		buffers = []*memory.Buffer{valid, ends, text}
	} else {
		values, err := c.numbers(codes)
		if err != nil {
			return nil, err
		}
		buffers[1] = values
	}
	d := array.NewData(c.typ, len(codes), buffers, nil, nulls, 0)
	defer d.Release()
	for _, b := range buffers[1:] {
		b.Release()
	}
	return array.MakeFromData(d), nil
}

// handOn makes an array of text that knows its codes.
func (c *coded) handOn(codes []uint32, nulls int, valid, ends, text *memory.Buffer) arrow.Array {
	own := dataflow.NewBuffer(c.mem, 4*len(codes))
	for _, b := range []*memory.Buffer{ends, text, own} {
		defer b.Release()
	}
	to := arrow.Uint32Traits.CastFromBytes(own.Bytes())
	copy(to, codes)
	if nulls > 0 {
		for i, x := range to {
			if x == nullCode {
				to[i] = uint32(c.words.size())
			}
		}
	}
	return dataflow.CodedText(c.typ, len(codes), nulls, valid, ends, text, own, c.known)
}

// valid says which codes are no null; nil where none is.
func (c *coded) valid(codes []uint32) (valid *memory.Buffer, nulls int) {
	if !c.optional {
		return nil, 0
	}
	for _, x := range codes {
		if x == nullCode {
			nulls++
		}
	}
	if nulls == 0 {
		return nil, 0
	}
	valid = dataflow.NewBuffer(c.mem, (len(codes)+7)/8)
	bits := valid.Bytes()
	clear(bits)
	for i, x := range codes {
		if x != nullCode {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return valid, nulls
}

func (c *coded) numbers(codes []uint32) (*memory.Buffer, error) {
	out := dataflow.NewBuffer(c.mem, c.width*len(codes))
	if err := lookUp(out.Bytes(), c.dict, codes, c.width, c.optional); err != nil {
		out.Release()
		return nil, err
	}
	return out, nil
}

// all is the values of the row group that is about to be read, by code, and a null
// behind them if there can be nulls.
func (c *coded) all() (arrow.Array, error) {
	if c.rows == 0 {
		if err := c.turn(); err != nil {
			return nil, err
		}
	}
	codes := make([]uint32, c.entries(), c.entries()+1)
	for i := range codes {
		codes[i] = uint32(i)
	}
	if c.optional {
		codes = append(codes, nullCode)
	}
	return c.array(codes)
}
