package files

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// A column of a schema in JSON.
type column struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Required bool   `json:"required,omitempty"` // never null
}

// EncodeSchema writes a schema as JSON: [{"name":"n","type":"int64"}, ...]. Types
// are named bool, int8 to int64, uint8 to uint64, float32, float64, string,
// large_string, binary, large_binary, fixed(n), date32, date64, time32(s|ms),
// time64(us|ns), timestamp(s|ms|us|ns[,zone]), duration(unit), decimal(p,s),
// list<type>, map<type,type>, struct<name:type,...>, null; a "!" behind a type inside
// another says that it is never null. Metadata is not kept.
func EncodeSchema(s *arrow.Schema) (json.RawMessage, error) {
	var cols []column
	for _, f := range s.Fields() {
		name, err := typeName(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		cols = append(cols, column{Name: f.Name, Type: name, Required: !f.Nullable})
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // list<int64> is to be read by people
	err := e.Encode(cols)
	return bytes.TrimSpace(out.Bytes()), err
}

// DecodeSchema reads what EncodeSchema writes.
func DecodeSchema(raw json.RawMessage) (*arrow.Schema, error) {
	var cols []column
	if err := decodeStrict(raw, &cols); err != nil {
		return nil, err
	}
	var fields []arrow.Field
	seen := map[string]bool{}
	for _, c := range cols {
		if seen[c.Name] {
			return nil, fmt.Errorf("two columns are called %q", c.Name)
		}
		seen[c.Name] = true
		p := typeParser{rest: c.Type}
		dt, err := p.parse(0)
		if err == nil && strings.TrimSpace(p.rest) != "" {
			err = fmt.Errorf("%q follows the type", p.rest)
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: type %q: %w", c.Name, c.Type, err)
		}
		fields = append(fields, arrow.Field{Name: c.Name, Type: dt, Nullable: !c.Required})
	}
	return arrow.NewSchema(fields, nil), nil
}

var plainTypes = map[string]arrow.DataType{
	"null": arrow.Null, "bool": arrow.FixedWidthTypes.Boolean,
	"int8": arrow.PrimitiveTypes.Int8, "int16": arrow.PrimitiveTypes.Int16, "int32": arrow.PrimitiveTypes.Int32, "int64": arrow.PrimitiveTypes.Int64,
	"uint8": arrow.PrimitiveTypes.Uint8, "uint16": arrow.PrimitiveTypes.Uint16, "uint32": arrow.PrimitiveTypes.Uint32, "uint64": arrow.PrimitiveTypes.Uint64,
	"float32": arrow.PrimitiveTypes.Float32, "float64": arrow.PrimitiveTypes.Float64,
	"string": arrow.BinaryTypes.String, "large_string": arrow.BinaryTypes.LargeString,
	"binary": arrow.BinaryTypes.Binary, "large_binary": arrow.BinaryTypes.LargeBinary,
	"date32": arrow.FixedWidthTypes.Date32, "date64": arrow.FixedWidthTypes.Date64,
}

var units = map[string]arrow.TimeUnit{"s": arrow.Second, "ms": arrow.Millisecond, "us": arrow.Microsecond, "ns": arrow.Nanosecond}

func typeName(dt arrow.DataType) (string, error) {
	for name, t := range plainTypes {
		if t.ID() == dt.ID() {
			return name, nil
		}
	}
	switch t := dt.(type) {
	case *arrow.FixedSizeBinaryType:
		return fmt.Sprintf("fixed(%d)", t.ByteWidth), nil
	case *arrow.Time32Type:
		return "time32(" + t.Unit.String() + ")", nil
	case *arrow.Time64Type:
		return "time64(" + t.Unit.String() + ")", nil
	case *arrow.DurationType:
		return "duration(" + t.Unit.String() + ")", nil
	case *arrow.TimestampType:
		if t.TimeZone != "" {
			return "timestamp(" + t.Unit.String() + "," + t.TimeZone + ")", nil
		}
		return "timestamp(" + t.Unit.String() + ")", nil
	case *arrow.Decimal128Type:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale), nil
	case *arrow.ListType:
		elem, err := innerName(t.ElemField())
		return "list<" + elem + ">", err
	case *arrow.MapType:
		key, err := typeName(t.KeyType())
		if err != nil {
			return "", err
		}
		item, err := innerName(t.ItemField())
		return "map<" + key + "," + item + ">", err
	case *arrow.StructType:
		var parts []string
		for _, f := range t.Fields() {
			ft, err := innerName(f)
			if err != nil {
				return "", err
			}
			if strings.ContainsAny(f.Name, "<>,:()! ") {
				return "", fmt.Errorf("a field called %q cannot stand in a type's name", f.Name)
			}
			parts = append(parts, f.Name+":"+ft)
		}
		return "struct<" + strings.Join(parts, ",") + ">", nil
	}
	return "", fmt.Errorf("type %s has no name here", dt)
}

func innerName(f arrow.Field) (string, error) {
	name, err := typeName(f.Type)
	if !f.Nullable {
		name += "!"
	}
	return name, err
}

// typeParser reads a type's name from the front of rest.
type typeParser struct{ rest string }

// depthMax bounds nesting, so that a plan cannot exhaust the stack.
const depthMax = 64

func (p *typeParser) parse(depth int) (arrow.DataType, error) {
	if depth > depthMax {
		return nil, fmt.Errorf("nested more than %d deep", depthMax)
	}
	word := p.word()
	if dt, ok := plainTypes[word]; ok {
		return dt, nil
	}
	switch word {
	case "fixed", "time32", "time64", "duration", "timestamp", "decimal":
		return p.withNumbers(word)
	case "list":
		return p.inside(func() (arrow.DataType, error) {
			elem, nullable, err := p.inner(depth)
			if err != nil {
				return nil, err
			}
			return arrow.ListOfField(arrow.Field{Name: "item", Type: elem, Nullable: nullable}), nil
		})
	case "map":
		return p.inside(func() (arrow.DataType, error) {
			key, err := p.parse(depth + 1)
			if err != nil {
				return nil, err
			}
			if err := p.expect(","); err != nil {
				return nil, err
			}
			item, nullable, err := p.inner(depth)
			if err != nil {
				return nil, err
			}
			m := arrow.MapOf(key, item)
			m.SetItemNullable(nullable)
			return m, nil
		})
	case "struct":
		return p.inside(func() (arrow.DataType, error) {
			var fields []arrow.Field
			for !strings.HasPrefix(p.rest, ">") {
				if len(fields) > 0 {
					if err := p.expect(","); err != nil {
						return nil, err
					}
				}
				name := p.word()
				if err := p.expect(":"); err != nil {
					return nil, err
				}
				dt, nullable, err := p.inner(depth)
				if err != nil {
					return nil, err
				}
				fields = append(fields, arrow.Field{Name: name, Type: dt, Nullable: nullable})
			}
			return arrow.StructOf(fields...), nil
		})
	}
	return nil, fmt.Errorf("%q is no type", word)
}

// inner is a type inside another.
func (p *typeParser) inner(depth int) (dt arrow.DataType, nullable bool, err error) {
	if dt, err = p.parse(depth + 1); err != nil {
		return nil, false, err
	}
	rest, required := strings.CutPrefix(p.rest, "!")
	p.rest = rest
	return dt, !required, nil
}

func (p *typeParser) word() string {
	p.rest = strings.TrimLeft(p.rest, " ")
	i := strings.IndexAny(p.rest, "<>,:()! ")
	if i < 0 {
		i = len(p.rest)
	}
	w := p.rest[:i]
	p.rest = p.rest[i:]
	return w
}

func (p *typeParser) expect(s string) error {
	p.rest = strings.TrimLeft(p.rest, " ")
	rest, ok := strings.CutPrefix(p.rest, s)
	if !ok {
		return fmt.Errorf("expected %q before %q", s, p.rest)
	}
	p.rest = rest
	return nil
}

func (p *typeParser) inside(f func() (arrow.DataType, error)) (arrow.DataType, error) {
	if err := p.expect("<"); err != nil {
		return nil, err
	}
	dt, err := f()
	if err != nil {
		return nil, err
	}
	return dt, p.expect(">")
}

func (p *typeParser) withNumbers(word string) (arrow.DataType, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	in, rest, ok := strings.Cut(p.rest, ")")
	if !ok {
		return nil, fmt.Errorf("expected %q", ")")
	}
	p.rest = rest
	first, second, two := strings.Cut(in, ",")
	first, second = strings.TrimSpace(first), strings.TrimSpace(second)
	unit, isUnit := units[first]
	switch {
	case word == "timestamp" && isUnit:
		return &arrow.TimestampType{Unit: unit, TimeZone: second}, nil
	case word == "duration" && isUnit && !two:
		return &arrow.DurationType{Unit: unit}, nil
	case word == "time32" && (first == "s" || first == "ms") && !two:
		return &arrow.Time32Type{Unit: unit}, nil
	case word == "time64" && (first == "us" || first == "ns") && !two:
		return &arrow.Time64Type{Unit: unit}, nil
	case word == "fixed" && !two:
		if n, err := strconv.Atoi(first); err == nil && n > 0 {
			return &arrow.FixedSizeBinaryType{ByteWidth: n}, nil
		}
	case word == "decimal" && two:
		prec, err1 := strconv.Atoi(first)
		scale, err2 := strconv.Atoi(second)
		if err1 == nil && err2 == nil && prec > 0 && prec <= 38 && scale >= 0 && scale <= prec {
			return &arrow.Decimal128Type{Precision: int32(prec), Scale: int32(scale)}, nil
		}
	}
	return nil, fmt.Errorf("%s(%s) is no type", word, in)
}
