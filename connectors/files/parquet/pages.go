package parquet

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// A pager goes through a column's pages, which hold plain values or codes, numbers into
// a dictionary, null or not.
type pager struct {
	pages      file.PageReader
	stored     int // bytes of a plain value; 0: there are codes only
	optional   bool
	dictionary func(n int, data []byte) error // takes the dictionary's page

	// The page at hand: rows of it that were read, and all.
	at, rows int
	coded    bool
	codes    runs
	plain    []byte
	levels   runs
	places   []int32 // by row, of its value, of a null ^ one near by; nil where none is null

	defs []uint32
	want []int32
}

// plainLevels says whether pages are of the kinds that are known here: one level at most,
// plain values or codes.
func plainLevels(d *schema.Column, chunk *metadata.ColumnChunkMetaData) bool {
	if d.MaxRepetitionLevel() > 0 || d.MaxDefinitionLevel() > 1 || len(d.ColumnPath()) != 1 || chunk.CryptoMetadata() != nil {
		return false
	}
	for _, e := range chunk.Encodings() {
		switch e {
		case parquet.Encodings.Plain, parquet.Encodings.PlainDict, parquet.Encodings.RLEDict, parquet.Encodings.RLE:
		case parquet.Encodings.BitPacked: // an old way to write levels; many claim it that have none
			if d.MaxDefinitionLevel() > 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// wanted is the page's rows that are asked for of the next k, or that it is all of them
// and none is null; done rows of the batch came before, which sel counts.
func (p *pager) wanted(done, k int, sel []int32) (rows []int32, all bool) {
	if sel == nil && p.places == nil {
		return nil, true
	}
	p.want = p.want[:0]
	if sel == nil {
		for i := range k {
			p.want = append(p.want, int32(p.at+i))
		}
		return p.want, false
	}
	shift := int32(p.at - done)
	for _, s := range sel {
		if int(s) >= done+k {
			break
		}
		p.want = append(p.want, s+shift)
	}
	return p.want, false
}

// turn goes to the next page.
func (p *pager) turn() error {
	for p.at == p.rows {
		if !p.pages.Next() {
			if err := p.pages.Err(); err != nil {
				return err
			}
			return io.ErrUnexpectedEOF
		}
		if err := p.page(p.pages.Page()); err != nil {
			return err
		}
	}
	return nil
}

func (p *pager) page(page file.Page) error {
	n := int(page.NumValues())
	if n < 0 || n > pageValuesMax {
		return fmt.Errorf("a page claims %d values", n)
	}
	switch page := page.(type) {
	case *file.DictionaryPage:
		return p.dictionary(n, page.Data())
	case *file.DataPageV1:
		data := page.Data()
		var levels []byte
		if p.optional {
			if len(data) < 4 {
				return errRuns
			}
			size := int(binary.LittleEndian.Uint32(data))
			if size < 0 || size > len(data)-4 {
				return errRuns
			}
			levels, data = data[4:4+size], data[4+size:]
		}
		return p.begin(parquet.Encoding(page.Encoding()), n, levels, data)
	case *file.DataPageV2:
		data, reps, defs := page.Data(), int(page.RepetitionLevelByteLen()), int(page.DefinitionLevelByteLen())
		if reps < 0 || defs < 0 || reps+defs > len(data) {
			return errRuns
		}
		return p.begin(parquet.Encoding(page.Encoding()), n, data[reps:reps+defs], data[reps+defs:])
	}
	return nil // an index page
}

// begin stands before the first of a page's n rows.
func (p *pager) begin(encoding parquet.Encoding, n int, levels, data []byte) error {
	p.at, p.rows, p.places = 0, n, nil
	values := n
	if p.optional && n > 0 {
		if err := p.levels.parse(levels, 1, n); err != nil {
			return err
		}
		if !p.levels.all(1) {
			values = p.place(n)
		}
	}
	switch {
	case encoding == parquet.Encodings.Plain && p.stored > 0:
		p.coded = false
		if values > len(data)/p.stored {
			return fmt.Errorf("a page claims %d values in %d bytes", values, len(data))
		}
		p.plain = data[:values*p.stored]
		return nil
	case encoding == parquet.Encodings.RLEDict, encoding == parquet.Encodings.PlainDict:
		p.coded = true
		p.codes.list = p.codes.list[:0]
		if values == 0 {
			return nil
		}
		if len(data) == 0 {
			return errRuns
		}
		return p.codes.parse(data[1:], uint(data[0]), values)
	}
	return fmt.Errorf("a page is encoded as %s, and its column said that none is", encoding)
}

// place says for each row where its value is, and how many values there are.
func (p *pager) place(n int) int {
	if cap(p.defs) < n {
		p.defs = make([]uint32, n)
	}
	defs := p.defs[:n]
	p.levels.read(defs, 0)
	p.places = make([]int32, n)
	at := int32(0)
	for i, d := range defs {
		if p.places[i] = at; d == 0 {
			p.places[i] = ^at
			continue
		}
		at++
	}
	for i := n - 1; i >= 0 && defs[i] == 0 && at > 0; i-- { // no value is behind these
		p.places[i] = ^(at - 1)
	}
	return int(at)
}

func (p *pager) release() { p.pages.Close() }
