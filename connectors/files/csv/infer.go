package csv

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

const (
	sampleRows  = 1000
	sampleBytes = 1 << 20
)

// head reads the first records of a file, at most n.
func (r reader) head(in *files.Input, n int) ([]fields, error) {
	src, err := in.Reader(0)
	if err != nil {
		return nil, in.Fail("csv.Read", 0, err)
	}
	defer src.Close()
	var buf []byte
	size := 64 << 10
	if n > 1 {
		size = sampleBytes
	}
	for {
		from := len(buf)
		buf = append(buf, make([]byte, size)...)
		k, err := io.ReadFull(src, buf[from:])
		buf = buf[:from+k]
		eof := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !eof {
			return nil, in.Fail("csv.Read", int64(len(buf)), err)
		}
		var out []fields
		for at := files.MarkLen(buf); at < len(buf) && len(out) < n; {
			record, next, whole := r.record(buf[at:])
			if !r.multiline {
				record, next = files.NextLine(buf[at:])
				whole = at+next < len(buf) || buf[at+next-1] == '\n'
			}
			if !whole && !eof {
				break
			}
			f, err := r.split(nil, record)
			if err != nil {
				if len(out) > 0 { // the rows' own policy will tell
					at += next
					continue
				}
				return nil, in.Bad("csv.Read", int64(at), record, err)
			}
			out = append(out, f)
			at += next
		}
		if len(out) > 0 || eof {
			return out, nil
		}
		if int64(len(buf)) > in.MaxRecordBytes {
			return nil, in.TooLarge("csv.Read", 0)
		}
	}
}

// infer finds names and types from the first records: the narrowest of bool, int64,
// float64, date, timestamp that fits all values, or string.
func (r reader) infer(in *files.Input) (*arrow.Schema, error) {
	rows, err := r.head(in, sampleRows+1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, &dataflow.Error{Op: "csv.Schema", Path: in.Path, Kind: dataflow.User, Err: fmt.Errorf("%w: there is no record to infer a schema from", dataflow.ErrNoInput), Try: "give the schema"}
	}
	names := namesOf(len(rows[0]))
	if r.header {
		names, rows = rows[0].texts(), rows[1:]
	}
	var out []arrow.Field
	seen := map[string]bool{}
	for c, name := range names {
		if seen[name] {
			return nil, &dataflow.Error{Op: "csv.Schema", Path: in.Path, Kind: dataflow.User, Err: fmt.Errorf("the header names column %q twice", name)}
		}
		seen[name] = true
		out = append(out, arrow.Field{Name: name, Type: r.typeOf(rows, c), Nullable: true})
	}
	return arrow.NewSchema(out, nil), nil
}

var candidates = []struct {
	dt   arrow.DataType
	fits func(s string) bool
}{
	{arrow.FixedWidthTypes.Boolean, func(s string) bool { return s == "true" || s == "false" }},
	{arrow.PrimitiveTypes.Int64, func(s string) bool { _, err := strconv.ParseInt(s, 10, 64); return err == nil }},
	{arrow.PrimitiveTypes.Float64, func(s string) bool { _, err := strconv.ParseFloat(s, 64); return err == nil }},
	{arrow.FixedWidthTypes.Date32, func(s string) bool { _, err := time.Parse(time.DateOnly, s); return err == nil }},
	{&arrow.TimestampType{Unit: arrow.Microsecond}, func(s string) bool {
		for _, layout := range []string{"2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999"} {
			if _, err := time.Parse(layout, s); err == nil {
				return true
			}
		}
		return false
	}},
}

func (r reader) typeOf(rows []fields, column int) arrow.DataType {
	for _, c := range candidates {
		values, fits := 0, true
		for _, row := range rows {
			if column >= len(row) || !row[column].quoted && string(row[column].text) == r.null {
				continue
			}
			values++
			if fits = !row[column].quoted && c.fits(string(row[column].text)); !fits {
				break
			}
		}
		if fits && values > 0 {
			return c.dt
		}
	}
	return arrow.BinaryTypes.String
}
