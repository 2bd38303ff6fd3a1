package kafka

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/connectors/files"
)

// columns are the places of the parts of a record among the columns of the rows;
// -1: none of them.
type columns struct {
	key, value, headers, timestamp, partition int
	json                                      bool // value is the whole row
}

// columnsOf finds which column is what:
//
//   - if one is called "value", all are parts of a record by their names: key,
//     value, headers (a list of key and value, or a map), timestamp (or
//     milliseconds since 1970), partition;
//   - else one column is the value;
//   - else two are key and value.
//
// A key or value that is null is none: a record without a value is a tombstone.
// Binary and text columns are written as they are, all others as text.
//
// For format JSON the value is the row as an object; a column that is called key
// is the key as well.
func columnsOf(s *arrow.Schema, format string) (columns, error) {
	c := columns{key: -1, value: -1, headers: -1, timestamp: -1, partition: -1}
	if format == JSON {
		c.json = true
		if at := s.FieldIndices(keyColumn); len(at) > 0 {
			c.key = at[0]
		}
		return c, nil
	}
	var names []string
	for _, f := range s.Fields() {
		names = append(names, f.Name)
	}
	if !slices.Contains(names, valueColumn) {
		switch len(names) {
		case 1:
			c.value = 0
			return c, nil
		case 2:
			c.key, c.value = 0, 1
			return c, nil
		}
		return c, fmt.Errorf("%d columns (%s), and none is called value: which is key, which is value?", len(names), strings.Join(names, ", "))
	}
	for i, name := range names {
		at := map[string]*int{keyColumn: &c.key, valueColumn: &c.value, headersColumn: &c.headers, timestampColumn: &c.timestamp, partitionColumn: &c.partition}[name]
		switch {
		case at == nil:
			return c, fmt.Errorf("column %q is no part of a record that can be written (have key, value, headers, timestamp, partition)", name)
		case *at >= 0:
			return c, fmt.Errorf("two columns are called %q", name)
		}
		*at = i
	}
	return c, nil
}

// recordMaker makes records of the rows of one batch.
type recordMaker struct {
	key, value cell
	object     []cell
	names      [][]byte
	headers    func(r *kgo.Record, buf []byte, i int) []byte
	timestamp  func(i int) (time.Time, bool)
	partition  func(i int) (int64, bool)
}

// cell is one column of a batch.
type cell struct {
	arr   arrow.Array
	print files.Printer
}

func printed(arr arrow.Array, as func(arrow.Array) (files.Printer, error)) (cell, error) {
	p, err := as(arr)
	return cell{arr, p}, err
}

// append adds the text of a value to buf and returns it too; nil for null.
func (c cell) append(buf []byte, i int) (all, value []byte) {
	if c.arr == nil || c.arr.IsNull(i) {
		return buf, nil
	}
	at := len(buf)
	if buf = c.print(buf, i); buf == nil {
		buf = []byte{}
	}
	return buf, buf[at:len(buf):len(buf)]
}

func (c columns) open(b arrow.RecordBatch) (m recordMaker, err error) {
	if c.key >= 0 {
		if m.key, err = printed(b.Column(c.key), files.PrinterOf); err != nil {
			return m, fmt.Errorf("column %s: %w", b.ColumnName(c.key), err)
		}
	}
	if c.json {
		for i, arr := range b.Columns() {
			p, err := printed(arr, files.JSONPrinterOf)
			if err != nil {
				return m, fmt.Errorf("column %s: %w", b.ColumnName(i), err)
			}
			m.object = append(m.object, p)
			m.names = append(m.names, append(files.AppendJSONString(nil, b.ColumnName(i)), ':'))
		}
		return m, nil
	}
	if m.value, err = printed(b.Column(c.value), files.PrinterOf); err != nil {
		return m, fmt.Errorf("column %s: %w", b.ColumnName(c.value), err)
	}
	if c.headers >= 0 {
		if m.headers, err = headersOf(b.Column(c.headers)); err != nil {
			return m, err
		}
	}
	if c.timestamp >= 0 {
		if m.timestamp, err = timestampsOf(b.Column(c.timestamp)); err != nil {
			return m, err
		}
	}
	if c.partition >= 0 {
		if m.partition, err = integersOf(partitionColumn, b.Column(c.partition)); err != nil {
			return m, err
		}
	}
	return m, nil
}

// record fills r from row i; what it points to is appended to buf.
func (m *recordMaker) record(r *kgo.Record, buf []byte, i int) ([]byte, error) {
	buf, r.Key = m.key.append(buf, i)
	if m.object != nil {
		at := len(buf)
		buf = append(buf, '{')
		for c, p := range m.object {
			if c > 0 {
				buf = append(buf, ',')
			}
			buf = append(buf, m.names[c]...)
			if p.arr.IsNull(i) {
				buf = append(buf, "null"...)
			} else {
				buf = p.print(buf, i)
			}
		}
		buf = append(buf, '}')
		r.Value = buf[at:len(buf):len(buf)]
		return buf, nil
	}
	buf, r.Value = m.value.append(buf, i)
	if m.headers != nil {
		buf = m.headers(r, buf, i)
	}
	if m.timestamp != nil {
		if t, ok := m.timestamp(i); ok {
			r.Timestamp = t
		}
	}
	if m.partition != nil {
		if p, ok := m.partition(i); ok {
			if p < 0 || p > 1<<31-1 {
				return buf, fmt.Errorf("partition is %d", p)
			}
			r.Partition = int32(p)
		}
	}
	return buf, nil
}

// headersOf reads a map, or a list of structs whose first two fields are name and
// value.
func headersOf(arr arrow.Array) (func(r *kgo.Record, buf []byte, i int) []byte, error) {
	bad := fmt.Errorf("column headers is of type %s, want list<struct<key,value>> or map<key,value>", arr.DataType())
	list, ok := arr.(array.ListLike)
	if !ok {
		return nil, bad
	}
	s, ok := list.ListValues().(*array.Struct)
	if !ok || s.NumField() != 2 {
		return nil, bad
	}
	name, err := printed(s.Field(0), files.PrinterOf)
	if err != nil {
		return nil, err
	}
	value, err := printed(s.Field(1), files.PrinterOf)
	if err != nil {
		return nil, err
	}
	return func(r *kgo.Record, buf []byte, i int) []byte {
		if list.IsNull(i) {
			return buf
		}
		from, to := list.ValueOffsets(i)
		for j := int(from); j < int(to); j++ {
			var k, v []byte
			buf, k = name.append(buf, j)
			buf, v = value.append(buf, j)
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(k), Value: v})
		}
		return buf
	}, nil
}

func timestampsOf(arr arrow.Array) (func(i int) (time.Time, bool), error) {
	if t, ok := arr.(*array.Timestamp); ok {
		unit := t.DataType().(*arrow.TimestampType).Unit
		return func(i int) (time.Time, bool) {
			if t.IsNull(i) {
				return time.Time{}, false
			}
			return t.Value(i).ToTime(unit), true
		}, nil
	}
	ms, err := integersOf(timestampColumn, arr)
	if err != nil {
		return nil, err
	}
	return func(i int) (time.Time, bool) {
		v, ok := ms(i)
		return time.UnixMilli(v), ok
	}, nil
}

func integersOf(name string, arr arrow.Array) (func(i int) (int64, bool), error) {
	switch a := arr.(type) {
	case *array.Int32:
		return func(i int) (int64, bool) { return int64(a.Value(i)), a.IsValid(i) }, nil
	case *array.Int64:
		return func(i int) (int64, bool) { return a.Value(i), a.IsValid(i) }, nil
	}
	return nil, fmt.Errorf("column %s is of type %s", name, arr.DataType())
}
