package kafka

import (
	"bytes"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/jsonl"
)

// Names of columns that mean a part of a record.
const (
	topicColumn     = "topic"
	partitionColumn = "partition"
	offsetColumn    = "offset"
	timestampColumn = "timestamp"
	keyColumn       = "key"
	valueColumn     = "value"
	headersColumn   = "headers"
)

// headerType is a record's headers: in order, and a name may come twice.
var headerType = arrow.ListOfNonNullable(arrow.StructOf(
	arrow.Field{Name: "key", Type: arrow.BinaryTypes.String},
	arrow.Field{Name: "value", Type: arrow.BinaryTypes.Binary, Nullable: true},
))

// schemas of the formats that have one of their own.
var schemas = map[string]*arrow.Schema{
	Text: arrow.NewSchema([]arrow.Field{{Name: "line", Type: arrow.BinaryTypes.String}}, nil),
	Raw: arrow.NewSchema([]arrow.Field{
		{Name: keyColumn, Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: valueColumn, Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil),
	Record: arrow.NewSchema([]arrow.Field{
		{Name: topicColumn, Type: arrow.BinaryTypes.String},
		{Name: partitionColumn, Type: arrow.PrimitiveTypes.Int32},
		{Name: offsetColumn, Type: arrow.PrimitiveTypes.Int64},
		{Name: timestampColumn, Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}},
		{Name: keyColumn, Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: valueColumn, Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: headersColumn, Type: headerType},
	}, nil),
}

// rows appends records to a builder. add appends at most max rows, and says how
// many it did and whether the record has more; it is called with the record again
// then. A record that fails leaves nothing behind.
type rows interface {
	add(r *kgo.Record, max int) (n int, more bool, err error)
}

func newRows(format string, b *array.RecordBuilder) (rows, error) {
	switch format {
	case Text:
		return &textRows{lines: b.Field(0).(*array.StringBuilder)}, nil
	case Raw:
		return rawRows{b.Field(0).(*array.BinaryBuilder), b.Field(1).(*array.BinaryBuilder)}, nil
	case Record:
		h := b.Field(6).(*array.ListBuilder)
		s := h.ValueBuilder().(*array.StructBuilder)
		return recordRows{
			topic: b.Field(0).(*array.StringBuilder), partition: b.Field(1).(*array.Int32Builder), offset: b.Field(2).(*array.Int64Builder),
			timestamp: b.Field(3).(*array.TimestampBuilder), raw: rawRows{b.Field(4).(*array.BinaryBuilder), b.Field(5).(*array.BinaryBuilder)},
			headers: h, header: s, name: s.FieldBuilder(0).(*array.StringBuilder), value: s.FieldBuilder(1).(*array.BinaryBuilder),
		}, nil
	case JSON:
		p, err := jsonl.NewParser(b)
		return jsonRows{p}, err
	}
	return nil, fmt.Errorf("format %q is not known", format)
}

// textRows makes a row of each line of a value. An empty value is an empty line.
type textRows struct {
	lines *array.StringBuilder
	rest  []byte // of the value that has more lines
}

func (t *textRows) add(r *kgo.Record, max int) (n int, more bool, err error) {
	if r.Value == nil {
		return 0, false, nil
	}
	rest := r.Value
	if t.rest != nil {
		rest = t.rest
	}
	for n < max {
		line, size := files.NextLine(rest)
		t.lines.BinaryBuilder.Append(line)
		n++
		if rest = rest[size:]; len(rest) == 0 {
			t.rest = nil
			return n, false, nil
		}
	}
	t.rest = rest
	return n, true, nil
}

// rawRows makes a row of each record, bytes as they are.
type rawRows struct{ key, value *array.BinaryBuilder }

func (w rawRows) add(r *kgo.Record, _ int) (int, bool, error) {
	appendBytes(w.key, r.Key)
	appendBytes(w.value, r.Value)
	return 1, false, nil
}

// appendBytes keeps what is nil and what is empty apart.
func appendBytes(b *array.BinaryBuilder, v []byte) {
	if v == nil {
		b.AppendNull()
	} else {
		b.Append(v)
	}
}

// recordRows makes a row of each record, with all there is to know.
type recordRows struct {
	topic     *array.StringBuilder
	partition *array.Int32Builder
	offset    *array.Int64Builder
	timestamp *array.TimestampBuilder
	raw       rawRows
	headers   *array.ListBuilder
	header    *array.StructBuilder
	name      *array.StringBuilder
	value     *array.BinaryBuilder
}

func (w recordRows) add(r *kgo.Record, _ int) (int, bool, error) {
	w.topic.Append(r.Topic)
	w.partition.Append(r.Partition)
	w.offset.Append(r.Offset)
	w.timestamp.Append(arrow.Timestamp(r.Timestamp.UnixMilli()))
	w.headers.Append(true)
	for _, h := range r.Headers {
		w.header.Append(true)
		w.name.Append(h.Key)
		appendBytes(w.value, h.Value)
	}
	return w.raw.add(r, 1)
}

// jsonRows makes a row of each value, an object.
type jsonRows struct{ parser files.RowParser }

func (j jsonRows) add(r *kgo.Record, _ int) (int, bool, error) {
	if r.Value == nil {
		return 0, false, nil
	}
	if err := j.parser.Parse(bytes.TrimSpace(r.Value)); err != nil {
		return 0, false, err
	}
	j.parser.Commit()
	return 1, false, nil
}
