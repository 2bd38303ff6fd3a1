package jsonl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/connectors/files"
)

// A column takes values twice: check finds what is wrong with one, add appends one
// that passed and cannot fail. So a bad line leaves nothing in any builder.
type column interface {
	check(v value) error
	add(v value)
}

// parser takes a line apart.
type parser struct {
	names   map[string]int
	columns []column
	values  []value // of the line, by column
	scratch []byte
}

// NewParser parses records, each one JSON object, into the columns of b; fields are
// found by the columns' names.
func NewParser(b *array.RecordBuilder) (files.RowParser, error) {
	p := &parser{names: map[string]int{}, values: make([]value, len(b.Fields()))}
	for i, f := range b.Schema().Fields() {
		c, err := columnOf(f, b.Field(i))
		if err != nil {
			return nil, err
		}
		p.columns = append(p.columns, c)
		p.names[f.Name] = i
	}
	return p, nil
}

var (
	errNotJSON   = errors.New("no valid JSON")
	errNotUTF8   = errors.New("no valid UTF-8, which JSON is")
	errNotObject = errors.New("no JSON object")
)

var null = value("null")

func (p *parser) Parse(line []byte) (err error) {
	if !json.Valid(line) {
		return errNotJSON
	}
	if !utf8.Valid(line) {
		return errNotUTF8
	}
	from := skipSpace(line, 0)
	if line[from] != '{' {
		return errNotObject
	}
	for i := range p.values {
		p.values[i] = null
	}
	for k, v := range value(line[from:]).members() {
		var key []byte
		if key, p.scratch, err = k.text(p.scratch); err != nil {
			return err
		}
		if i, ok := p.names[string(key)]; ok {
			p.values[i] = v
		}
	}
	for i, c := range p.columns {
		if err := c.check(p.values[i]); err != nil {
			return p.misnamed(err, i, value(line[from:]))
		}
	}
	return nil
}

// misnamed says with an error of column i that the object has a key which is that column's
// name but for capitals: a field of a struct whose tag was forgotten, or is json's.
func (p *parser) misnamed(err error, i int, object value) error {
	for k := range object.members() {
		key, _, bad := k.text(nil)
		if bad != nil {
			continue
		}
		for name, at := range p.names {
			if at == i && name != string(key) && strings.EqualFold(name, string(key)) {
				return fmt.Errorf("%w; the object has %q, which a field with the tag `df:%[2]q` is read from", err, key)
			}
		}
	}
	return err
}

func (p *parser) Commit() {
	for i, c := range p.columns {
		c.add(p.values[i])
	}
}

func columnOf(f arrow.Field, b array.Builder) (column, error) {
	switch b := b.(type) {
	case *array.ListBuilder:
		elem, err := columnOf(b.Type().(*arrow.ListType).ElemField(), b.ValueBuilder())
		return &listColumn{field: f, b: b, elem: elem}, err
	case *array.MapBuilder:
		return nil, fmt.Errorf("column %s: maps are not read from JSON; make it a list of structs", f.Name)
	case *array.StructBuilder:
		c := &structColumn{field: f, b: b, names: map[string]int{}}
		for i, g := range f.Type.(*arrow.StructType).Fields() {
			inner, err := columnOf(g, b.FieldBuilder(i))
			if err != nil {
				return nil, err
			}
			c.columns = append(c.columns, inner)
			c.names[g.Name] = i
		}
		return c, nil
	}
	cell, err := files.CellOf(f, b)
	if err != nil {
		return nil, err
	}
	id := f.Type.ID()
	return &scalarColumn{
		field: f, cell: cell, isText: arrow.IsBinaryLike(id) || arrow.IsLargeBinaryLike(id),
		isBinary: id == arrow.BINARY || id == arrow.LARGE_BINARY || id == arrow.FIXED_SIZE_BINARY,
		isTime:   isTime(id), isDecimal: arrow.IsDecimal(id),
	}, nil
}

func isTime(id arrow.Type) bool {
	switch id {
	case arrow.DATE32, arrow.DATE64, arrow.TIME32, arrow.TIME64, arrow.TIMESTAMP:
		return true
	}
	return false
}

type scalarColumn struct {
	field                               arrow.Field
	cell                                files.Cell
	scratch, decoded                    []byte
	isText, isBinary, isTime, isDecimal bool
}

func (c *scalarColumn) check(v value) (err error) {
	if v.isNull() {
		return c.cell.Null()
	}
	text := []byte(v)
	if v[0] == '"' {
		if text, c.scratch, err = v.text(c.scratch); err != nil {
			return c.in(err)
		}
		switch {
		case c.isBinary:
			if c.decoded, err = decodeBase64(c.decoded, text); err != nil {
				return c.in(err)
			}
			text = c.decoded
		case !c.isText && !c.isTime && !c.isDecimal:
			return c.in(fmt.Errorf("%.40q is a string, want a %s", text, c.field.Type))
		}
	} else if c.isBinary || c.isTime {
		return c.in(fmt.Errorf("%.40q is no string, want a %s", text, c.field.Type))
	}
	return c.cell.Parse(text) // a string column keeps other values as their JSON
}

func (c *scalarColumn) in(err error) error { return fmt.Errorf("column %s: %w", c.field.Name, err) }

func (c *scalarColumn) add(v value) {
	c.check(v) // the cell holds one value only, and others were checked since
	c.cell.Commit()
}

type listColumn struct {
	field arrow.Field
	b     *array.ListBuilder
	elem  column
}

func (c *listColumn) check(v value) error {
	if err := checkNested(c.field, v, '[', "array"); err != nil || v.isNull() {
		return err
	}
	for e := range v.elements() {
		if err := c.elem.check(e); err != nil {
			return err
		}
	}
	return nil
}

func (c *listColumn) add(v value) {
	if v.isNull() {
		c.b.AppendNull()
		return
	}
	c.b.Append(true)
	for e := range v.elements() {
		c.elem.add(e)
	}
}

type structColumn struct {
	field   arrow.Field
	b       *array.StructBuilder
	columns []column
	names   map[string]int
	scratch []byte
}

func (c *structColumn) check(v value) error {
	if err := checkNested(c.field, v, '{', "object"); err != nil || v.isNull() {
		return err
	}
	values, err := c.values(v)
	if err != nil {
		return err
	}
	for i, inner := range c.columns {
		if err := inner.check(values[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *structColumn) values(v value) ([]value, error) {
	values := make([]value, len(c.columns))
	for i := range values {
		values[i] = null
	}
	for k, m := range v.members() {
		var key []byte
		var err error
		if key, c.scratch, err = k.text(c.scratch); err != nil {
			return nil, err
		}
		if i, ok := c.names[string(key)]; ok {
			values[i] = m
		}
	}
	return values, nil
}

func (c *structColumn) add(v value) {
	if v.isNull() {
		c.b.AppendNull()
		return
	}
	c.b.Append(true)
	values, _ := c.values(v) // checked before
	for i, inner := range c.columns {
		inner.add(values[i])
	}
}

func checkNested(f arrow.Field, v value, open byte, what string) error {
	switch {
	case v.isNull() && !f.Nullable:
		return files.Missing(f.Name)
	case !v.isNull() && v[0] != open:
		return fmt.Errorf("column %s: %.40q is no %s", f.Name, []byte(v), what)
	}
	return nil
}
