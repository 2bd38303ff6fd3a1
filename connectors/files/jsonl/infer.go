package jsonl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

const (
	sampleRows  = 1000
	sampleBytes = 1 << 20
	depthMax    = 32 // of nested types
)

// infer reads the first lines of a file. Members become columns in the order in
// which they first appear; what is of several kinds becomes a string.
func infer(in *files.Input) (*arrow.Schema, error) {
	src, err := in.Reader(0)
	if err != nil {
		return nil, in.Fail("jsonl.Schema", 0, err)
	}
	defer src.Close()
	buf := make([]byte, sampleBytes)
	n, err := io.ReadFull(src, buf)
	eof := errors.Is(err, io.EOF) || err == io.ErrUnexpectedEOF
	if err != nil && !eof {
		return nil, in.Fail("jsonl.Schema", 0, err)
	}
	buf = buf[:n]
	var top shape
	for rows, at := 0, files.MarkLen(buf); at < len(buf) && rows < sampleRows; rows++ {
		line, next := files.NextLine(buf[at:])
		if at+next == len(buf) && !eof && rows > 0 {
			break // perhaps cut
		}
		from := skipSpace(line, 0)
		if json.Valid(line) && line[from] == '{' {
			if err := top.see(line[from:end(line, from)], 0); err != nil {
				return nil, in.Bad("jsonl.Schema", int64(at), line, err)
			}
		}
		at += next
	}
	if len(top.members) == 0 {
		return nil, &dataflow.Error{Op: "jsonl.Schema", Path: in.Path, Kind: dataflow.User, Err: fmt.Errorf("%w: no JSON object to infer a schema from", dataflow.ErrNoInput), Try: "give the schema"}
	}
	return arrow.NewSchema(top.fields(), nil), nil
}

// shape is what was seen at one place.
type shape struct {
	bools, ints, floats, strings, lists, objects bool

	elem    *shape
	members []*member
	byName  map[string]*member
}

type member struct {
	name string
	shape
}

func (s *shape) see(v value, depth int) error {
	if depth > depthMax {
		return fmt.Errorf("nested more than %d deep", depthMax)
	}
	switch v[0] {
	case 'n':
	case 't', 'f':
		s.bools = true
	case '"':
		s.strings = true
	case '[':
		s.lists = true
		if s.elem == nil {
			s.elem = &shape{}
		}
		for e := range v.elements() {
			if err := s.elem.see(e, depth+1); err != nil {
				return err
			}
		}
	case '{':
		s.objects = true
		for k, m := range v.members() {
			key, _, err := k.text(nil)
			if err != nil {
				return err
			}
			inner := s.byName[string(key)]
			if inner == nil {
				inner = &member{name: string(key)}
				if s.byName == nil {
					s.byName = map[string]*member{}
				}
				s.byName[inner.name] = inner
				s.members = append(s.members, inner)
			}
			if err := inner.see(m, depth+1); err != nil {
				return err
			}
		}
	default:
		if _, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			s.ints = true
		} else {
			s.floats = true
		}
	}
	return nil
}

func (s *shape) fields() []arrow.Field {
	var out []arrow.Field
	for _, m := range s.members {
		out = append(out, arrow.Field{Name: m.name, Type: m.dataType(), Nullable: true})
	}
	return out
}

func (s *shape) dataType() arrow.DataType {
	kinds := 0
	for _, k := range []bool{s.bools, s.ints || s.floats, s.strings, s.lists, s.objects} {
		if k {
			kinds++
		}
	}
	switch {
	case kinds != 1 || s.strings:
		return arrow.BinaryTypes.String
	case s.bools:
		return arrow.FixedWidthTypes.Boolean
	case s.floats:
		return arrow.PrimitiveTypes.Float64
	case s.ints:
		return arrow.PrimitiveTypes.Int64
	case s.lists:
		return arrow.ListOf(s.elem.dataType())
	case len(s.members) == 0:
		return arrow.BinaryTypes.String
	}
	return arrow.StructOf(s.fields()...)
}
