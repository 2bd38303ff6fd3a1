package ops

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/sketch"
)

// Aggregates by sketches come in three forms, so that a sketch is made where the rows are
// and asked only in the end: of values a sketch, of sketches the result, and of values the
// result. What is asked stands behind the name: a share, and the type of the values with
// a question mark if there may be none.
//
//	distinct_sketch    distinct_of_sketches               approx_distinct
//	quantile_sketch    quantile_of_sketches:0.5:int64?    approx_quantile:0.5

// summary is what package sketch has in common.
type summary interface {
	Bytes() int64
	Append(b []byte) []byte
	MergeBytes(b []byte) error
}

// sketches are an accumulator whose groups keep more the more they are given, up to some
// 20 kB each.
type sketches struct {
	t      arrow.DataType // of what comes out in the end
	merges bool           // sketches come in
	gives  bool           // and come out
	empty  func() summary
	// put gives rows' values to their groups' sketches, null ones left out.
	put func(gids []int32, a arrow.Array, at func(g int32) summary) error
	// finish appends what a sketch says, or null.
	finish func(rb array.Builder, s summary)

	each  []summary // by group; nil: nothing came
	sizes []int64
	more  int64   // sum of sizes
	met   []int32 // groups of the batch at hand, some several times
}

// newSketches is the accumulator of an aggregate by sketches; ok is false for others.
func newSketches(fn string, t arrow.DataType) (s *sketches, ok bool, err error) {
	fn, asked, _ := strings.Cut(fn, ":")
	s = &sketches{merges: strings.HasSuffix(fn, "_of_sketches"), gives: strings.HasSuffix(fn, "_sketch")}
	if s.merges && t.ID() != arrow.BINARY {
		return nil, true, fmt.Errorf("%s looks at sketches, not at a column of type %s", fn, t)
	}
	switch fn {
	case "distinct_sketch", "distinct_of_sketches", "approx_distinct":
		s.distinct()
		if !s.merges {
			_, ok := keyWords(t)
			if !ok {
				return nil, true, fmt.Errorf("values of type %s cannot be told apart", t)
			}
		}
		return s, true, nil
	case "quantile_sketch", "quantile_of_sketches", "approx_quantile":
		share, typ := 0.5, t
		if !s.gives {
			text, name, typed := strings.Cut(asked, ":")
			if share, err = strconv.ParseFloat(text, 64); err != nil || !(share >= 0 && share <= 1) {
				return nil, true, fmt.Errorf("the share of a quantile is from 0 to 1, not %q", text)
			}
			if typed {
				if typ, err = expr.ParseType(strings.TrimSuffix(name, "?")); err != nil {
					return nil, true, err
				}
			}
		}
		o, err := ordinalsOf(typ)
		if err != nil {
			return nil, true, err
		}
		s.quantiles(o, share)
		s.t = typ
		return s, true, nil
	}
	return nil, false, nil
}

// neverNull says of which aggregates by sketches the result is never null, whatever they
// look at; mayBeNull of which it may, although sketches are never null themselves.
func neverNull(fn string) bool {
	return strings.HasPrefix(fn, "distinct_") || fn == "approx_distinct" || fn == "quantile_sketch"
}

func mayBeNull(fn string) bool {
	return strings.HasPrefix(fn, "quantile_of_sketches:") && strings.HasSuffix(fn, "?")
}

func (s *sketches) distinct() {
	s.t = arrow.PrimitiveTypes.Int64
	s.empty = func() summary { return &sketch.Distinct{} }
	s.finish = func(rb array.Builder, x summary) {
		n := int64(0)
		if x != nil {
			n = x.(*sketch.Distinct).Count()
		}
		rb.(*array.Int64Builder).Append(n)
	}
	var hashes []uint64
	s.put = func(gids []int32, a arrow.Array, at func(int32) summary) (err error) {
		b := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "value", Type: a.DataType(), Nullable: true}}, nil), []arrow.Array{a}, int64(a.Len()))
		defer b.Release()
		if hashes, err = hashInto(hashes, b, []int{0}); err != nil {
			return err
		}
		for i, g := range gids {
			if g != 0 && a.IsValid(i) {
				at(g).(*sketch.Distinct).Add(hashes[i])
			}
		}
		return nil
	}
}

func (s *sketches) quantiles(o ordinals, share float64) {
	s.empty = func() summary { return &sketch.Quantiles{} }
	s.finish = func(rb array.Builder, x summary) {
		if x != nil {
			if v, ok := x.(*sketch.Quantiles).At(share); ok {
				o.append(rb, v)
				return
			}
		}
		rb.AppendNull()
	}
	s.put = func(gids []int32, a arrow.Array, at func(int32) summary) error {
		for i, g := range gids {
			if g == 0 || a.IsNull(i) {
				continue
			}
			v, err := o.of(a, i)
			if err != nil {
				return err
			}
			at(g).(*sketch.Quantiles).Add(v)
		}
		return nil
	}
}

func (s *sketches) typ() arrow.DataType {
	if s.gives {
		return arrow.BinaryTypes.Binary
	}
	return s.t
}

func (s *sketches) grow(n int)       { s.each, s.sizes = resized(s.each, n), resized(s.sizes, n) }
func (s *sketches) reserve(int)      {} // keep does without them
func (s *sketches) bytesEach() int64 { return 36 }
func (s *sketches) extra() int64     { return s.more }

func (s *sketches) reset() {
	clear(s.each)
	s.each, s.sizes, s.more = s.each[:0], s.sizes[:0], 0
}

func (s *sketches) update(gids []int32, a arrow.Array) error {
	if s.merges {
		return s.merge(gids, a)
	}
	defer s.count()
	return s.put(gids, a, s.at)
}

// merge takes sketches, whatever update does.
func (s *sketches) merge(gids []int32, a arrow.Array) error {
	defer s.count()
	b := a.(*array.Binary)
	for i, g := range gids {
		if g == 0 || b.IsNull(i) {
			continue
		}
		if err := s.at(g).MergeBytes(b.Value(i)); err != nil {
			return err
		}
	}
	return nil
}

// at is a group's sketch, to be changed.
func (s *sketches) at(g int32) summary {
	x := s.each[g]
	if x == nil {
		x = s.empty()
		s.each[g] = x
	}
	if n := len(s.met); n == 0 || s.met[n-1] != g {
		s.met = append(s.met, g)
	}
	return x
}

// count looks how much has become of the groups that were met.
func (s *sketches) count() {
	for _, g := range s.met {
		size := s.each[g].Bytes()
		s.more += size - s.sizes[g]
		s.sizes[g] = size
	}
	s.met = s.met[:0]
}

func (s *sketches) emit(mem memory.Allocator, from, to int) (arrow.Array, error) {
	if s.gives {
		return s.state(mem, from, to)
	}
	rb := array.NewBuilder(mem, s.t)
	defer rb.Release()
	rb.Reserve(to - from)
	for _, x := range s.each[from:to] {
		s.finish(rb, x)
	}
	return rb.NewArray(), nil
}

// state is the sketches themselves.
func (s *sketches) state(mem memory.Allocator, from, to int) (arrow.Array, error) {
	rb := array.NewBinaryBuilder(mem, arrow.BinaryTypes.Binary)
	defer rb.Release()
	var b []byte
	total := 0
	for _, x := range s.each[from:to] {
		if x == nil {
			x = s.empty()
		}
		b = x.Append(b[:0])
		if total += len(b); total > math.MaxInt32 {
			return nil, fmt.Errorf("a column of %d bytes of sketches is too long for a batch", total)
		}
		rb.Append(b)
	}
	return rb.NewArray(), nil
}

// ordinals turn values of a type into numbers in the same order, and back.
type ordinals struct {
	of     func(a arrow.Array, i int) (uint64, error)
	append func(rb array.Builder, v uint64)
}

const signBit = 1 << 63

func ordinalsOf(t arrow.DataType) (ordinals, error) {
	switch t.ID() {
	case arrow.FLOAT32, arrow.FLOAT64:
		return floatOrdinals, nil
	case arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64,
		arrow.DATE32, arrow.DATE64, arrow.TIME32, arrow.TIME64, arrow.TIMESTAMP, arrow.DURATION, arrow.DECIMAL128:
		return wholeOrdinals, nil
	}
	return ordinals{}, fmt.Errorf("a column of type %s has no quantiles", t)
}

// floatOrdinals: -0 is 0, and a NaN is more than all numbers.
var floatOrdinals = ordinals{
	of: func(a arrow.Array, i int) (uint64, error) {
		var f float64
		switch a := a.(type) {
		case *array.Float64:
			f = a.Value(i)
		case *array.Float32:
			f = float64(a.Value(i))
		}
		if f != f {
			return math.MaxUint64, nil
		}
		x := math.Float64bits(f + 0)
		if x&signBit != 0 {
			return ^x, nil
		}
		return x | signBit, nil
	},
	append: func(rb array.Builder, v uint64) {
		f := math.NaN()
		switch {
		case v == math.MaxUint64:
		case v&signBit != 0:
			f = math.Float64frombits(v &^ signBit)
		default:
			f = math.Float64frombits(^v)
		}
		switch rb := rb.(type) {
		case *array.Float64Builder:
			rb.Append(f)
		case *array.Float32Builder:
			rb.Append(float32(f))
		}
	},
}

// wholeOrdinals: what is a whole number in Arrow too.
var wholeOrdinals = ordinals{
	of: func(a arrow.Array, i int) (uint64, error) {
		switch a := a.(type) {
		case *array.Date32:
			return uint64(a.Value(i)) ^ signBit, nil
		case *array.Date64:
			return uint64(a.Value(i)) ^ signBit, nil
		case *array.Time32:
			return uint64(a.Value(i)) ^ signBit, nil
		case *array.Time64:
			return uint64(a.Value(i)) ^ signBit, nil
		case *array.Timestamp:
			return uint64(a.Value(i)) ^ signBit, nil
		case *array.Duration:
			return uint64(a.Value(i)) ^ signBit, nil
		case *array.Uint64:
			return a.Value(i), nil
		}
		n := numberAt(a, i)
		if n.HighBits() != int64(n.LowBits())>>63 {
			return 0, fmt.Errorf("the decimal %s has too many digits for a quantile: cast it to float64", a.ValueStr(i))
		}
		return n.LowBits() ^ signBit, nil
	},
	append: func(rb array.Builder, v uint64) {
		if rb, ok := rb.(*array.Uint64Builder); ok {
			rb.Append(v)
			return
		}
		appendWhole(rb, int64(v^signBit))
	},
}

func appendWhole(rb array.Builder, x int64) {
	switch rb := rb.(type) {
	case *array.Int8Builder:
		rb.Append(int8(x))
	case *array.Int16Builder:
		rb.Append(int16(x))
	case *array.Int32Builder:
		rb.Append(int32(x))
	case *array.Int64Builder:
		rb.Append(x)
	case *array.Uint8Builder:
		rb.Append(uint8(x))
	case *array.Uint16Builder:
		rb.Append(uint16(x))
	case *array.Uint32Builder:
		rb.Append(uint32(x))
	case *array.Date32Builder:
		rb.Append(arrow.Date32(x))
	case *array.Date64Builder:
		rb.Append(arrow.Date64(x))
	case *array.Time32Builder:
		rb.Append(arrow.Time32(x))
	case *array.Time64Builder:
		rb.Append(arrow.Time64(x))
	case *array.TimestampBuilder:
		rb.Append(arrow.Timestamp(x))
	case *array.DurationBuilder:
		rb.Append(arrow.Duration(x))
	case *array.Decimal128Builder:
		rb.Append(decimal128.FromI64(x))
	}
}
