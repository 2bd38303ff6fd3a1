package csv

import (
	"bytes"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/connectors/files"
)

// field is one field's text; quoted ones are never null.
type field struct {
	text   []byte
	quoted bool
}

type fields []field

func (f fields) texts() []string {
	out := make([]string, len(f))
	for i, x := range f {
		out[i] = string(x.text)
	}
	return out
}

// split takes a record apart, appending to dst. Fields lie in the record, but for
// those with doubled quotes, which are made new.
func (d dialect) split(dst fields, record []byte) (fields, error) {
	for {
		if len(record) > 0 && record[0] == '"' {
			text, rest, err := unquote(record)
			if err != nil {
				return dst, err
			}
			dst = append(dst, field{text, true})
			if len(rest) == 0 {
				return dst, nil
			}
			if rest[0] != d.delimiter {
				return dst, errAfterQuote
			}
			record = rest[1:]
			continue
		}
		i := bytes.IndexByte(record, d.delimiter)
		if i < 0 {
			return append(dst, field{record, false}), nil
		}
		dst = append(dst, field{record[:i], false})
		record = record[i+1:]
	}
}

// unquote reads the quoted field at the front.
func unquote(record []byte) (text, rest []byte, err error) {
	from, doubled := 1, false
	for i := 1; ; {
		j := bytes.IndexByte(record[i:], '"')
		if j < 0 {
			return nil, nil, errOpenQuote
		}
		i += j
		if i+1 < len(record) && record[i+1] == '"' {
			doubled = true
			i += 2
			continue
		}
		text, rest = record[from:i], record[i+1:]
		break
	}
	if doubled {
		text = bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))
	}
	return text, rest, nil
}

type parser struct {
	dialect
	cells  []files.Cell
	places []int
	width  int
	fields fields
}

func newParser(d dialect, b *array.RecordBuilder, places []int, width int) (files.RowParser, error) {
	p := &parser{dialect: d, places: places, width: width}
	for i, f := range b.Schema().Fields() {
		c, err := files.CellOf(f, b.Field(i))
		if err != nil {
			return nil, err
		}
		p.cells = append(p.cells, c)
	}
	return p, nil
}

func (p *parser) Parse(record []byte) (err error) {
	if p.fields, err = p.split(p.fields[:0], record); err != nil {
		return err
	}
	if len(p.fields) != p.width {
		return fmt.Errorf("%d fields, want %d", len(p.fields), p.width)
	}
	for i, c := range p.cells {
		f := p.fields[p.places[i]]
		if !f.quoted && string(f.text) == p.null {
			err = c.Null()
		} else {
			err = c.Parse(f.text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) Commit() {
	for _, c := range p.cells {
		c.Commit()
	}
}
