package ops

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// An accumulator keeps one aggregate's value for every group, by its number.
type accumulator interface {
	typ() arrow.DataType
	// grow makes room for groups up to n-1.
	grow(n int)
	// reserve sees to it that growing up to n moves nothing.
	reserve(n int)
	// update takes the values of rows, a nil array for rows alone. A row of group 0
	// is nobody's.
	update(gids []int32, a arrow.Array) error
	emit(mem memory.Allocator, from, to int) (arrow.Array, error)
	bytesEach() int64
	reset()
}

// newAggregate is the accumulator of any aggregate over the rows of a group.
func newAggregate(fn string, t arrow.DataType) (accumulator, error) {
	if s, ok, err := newSketches(fn, t); ok {
		return s, err
	}
	return newAccumulator(fn, t)
}

func newAccumulator(fn string, t arrow.DataType) (accumulator, error) {
	switch fn {
	case "count":
		return &counts{}, nil
	case "sum", "sum0", "wide_sum":
		zero := fn == "sum0"
		switch {
		case t.ID() == arrow.FLOAT32 || t.ID() == arrow.FLOAT64:
			return &floatSums{zero: zero}, nil
		case t.ID() == arrow.DECIMAL128:
			return &sums{t: &arrow.Decimal128Type{Precision: 38, Scale: t.(*arrow.Decimal128Type).Scale}, zero: zero}, nil
		case t.ID() == arrow.UINT64:
			return &sums{t: &arrow.Decimal128Type{Precision: 38}, zero: zero}, nil
		case arrow.IsInteger(t.ID()) && fn == "wide_sum":
			return &sums{t: &arrow.Decimal128Type{Precision: 38}}, nil
		case arrow.IsInteger(t.ID()):
			return &sums{t: arrow.PrimitiveTypes.Int64, zero: zero}, nil
		}
		return nil, fmt.Errorf("a column of type %s has no sum", t)
	case "min", "max", "any":
		how := map[string]int{"min": -1, "max": 1, "any": 0}[fn]
		switch t.ID() {
		case arrow.INT8:
			return newBest[int8](t, how), nil
		case arrow.INT16:
			return newBest[int16](t, how), nil
		case arrow.INT32, arrow.DATE32, arrow.TIME32:
			return newBest[int32](t, how), nil
		case arrow.INT64, arrow.TIMESTAMP, arrow.TIME64, arrow.DURATION, arrow.DATE64:
			return newBest[int64](t, how), nil
		case arrow.UINT8:
			return newBest[uint8](t, how), nil
		case arrow.UINT16:
			return newBest[uint16](t, how), nil
		case arrow.UINT32:
			return newBest[uint32](t, how), nil
		case arrow.UINT64:
			return newBest[uint64](t, how), nil
		case arrow.FLOAT32:
			return newBest[float32](t, how), nil
		case arrow.FLOAT64:
			return newBest[float64](t, how), nil
		case arrow.DECIMAL128, arrow.STRING, arrow.BINARY, arrow.BOOL:
			return &bestValues{t: t, how: how}, nil
		}
		return nil, fmt.Errorf("a column of type %s has no %s", t, fn)
	}
	return nil, fmt.Errorf("there is no aggregate %q (have count, sum, sum0, wide_sum, min, max, any)", fn)
}

// resized is s with room for n, new places zero.
func resized[T any](s []T, n int) []T {
	if n <= len(s) {
		return s
	}
	if n > cap(s) {
		more := make([]T, len(s), max(n, cap(s)+cap(s)/2))
		copy(more, s)
		s = more
	}
	old := len(s)
	s = s[:n]
	clear(s[old:])
	return s
}

// roomy is s with a capacity of n.
func roomy[T any](s []T, n int) []T { return slices.Grow(s, max(0, n-len(s))) }

type counts struct{ n []int64 }

func (c *counts) typ() arrow.DataType { return arrow.PrimitiveTypes.Int64 }
func (c *counts) grow(n int)          { c.n = resized(c.n, n) }
func (c *counts) reserve(n int)       { c.n = roomy(c.n, n) }
func (c *counts) bytesEach() int64    { return 12 }
func (c *counts) reset()              { c.n = c.n[:0] }

func (c *counts) update(gids []int32, a arrow.Array) error {
	n := c.n
	if a == nil || a.NullN() == 0 {
		for _, g := range gids {
			n[g]++
		}
		return nil
	}
	for i, g := range gids {
		if a.IsValid(i) {
			n[g]++
		}
	}
	return nil
}

func (c *counts) emit(mem memory.Allocator, from, to int) (arrow.Array, error) {
	buf := dataflow.NewBuffer(mem, 8*(to-from))
	defer buf.Release()
	copy(arrow.Int64Traits.CastFromBytes(buf.Bytes()), c.n[from:to])
	return newArray(c.typ(), to-from, 0, nil, buf), nil
}

// seen notes which groups had a value. While no null was met that is all of them,
// but for those that never had a row, which only a keyless aggregate has.
type seen struct {
	has []uint8
	all int // of the groups up to here each had one
}

func (s *seen) forget() { s.has, s.all = s.has[:0], 0 }

func (s *seen) mark(gids []int32, a arrow.Array) {
	if s.all == len(s.has) {
		return
	}
	if a.NullN() == 0 {
		for _, g := range gids {
			s.has[g] = 1
		}
		for s.all == 0 || s.all < len(s.has) && s.has[s.all] == 1 { // group 0 is nobody's
			s.all++
		}
		return
	}
	valid, off := a.NullBitmapBytes(), a.Data().Offset()
	for i, g := range gids {
		s.has[g] |= valid[(off+i)>>3] >> ((off + i) & 7) & 1
	}
}

func (s *seen) valid(mem memory.Allocator, from, to int) (*memory.Buffer, int) {
	n := 0
	for _, h := range s.has[from:to] {
		n += int(h)
	}
	if n == to-from {
		return nil, 0
	}
	buf := zeroBytes(mem, (to-from+7)/8)
	for i, h := range s.has[from:to] {
		buf.Bytes()[i/8] |= h << (i % 8)
	}
	return buf, to - from - n
}

// sums are exact, in 128 bits: of integers and decimals.
type sums struct {
	seen
	t    arrow.DataType
	zero bool
	sum  []wide
}

type wide struct {
	lo uint64
	hi int64
}

func (s *sums) typ() arrow.DataType { return s.t }
func (s *sums) bytesEach() int64    { return 26 }
func (s *sums) grow(n int)          { s.sum, s.has = resized(s.sum, n), resized(s.has, n) }
func (s *sums) reserve(n int)       { s.sum, s.has = roomy(s.sum, n), roomy(s.has, n) }
func (s *sums) reset()              { s.sum = s.sum[:0]; s.forget() }

func (s *sums) update(gids []int32, a arrow.Array) error {
	s.mark(gids, a)
	d := a.Data()
	if a.NullN() == 0 {
		switch d.DataType().ID() {
		case arrow.DECIMAL128:
			return s.addDecimals(gids, arrow.GetValues[decimal128.Num](d, 1))
		case arrow.INT64:
			addInts(s.sum, gids, arrow.GetValues[int64](d, 1))
			return nil
		}
	}
	for i, g := range gids {
		if a.IsNull(i) {
			continue
		}
		if err := s.sum[g].add(numberAt(a, i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *wide) add(x decimal128.Num) error {
	lo, c := bits.Add64(w.lo, x.LowBits(), 0)
	hi := w.hi + x.HighBits() + int64(c)
	if (w.hi^hi)&(x.HighBits()^hi) < 0 {
		return errSum
	}
	w.lo, w.hi = lo, hi
	return nil
}

// errSum is final, as all is that the data cause.
var errSum = &dataflow.Error{Kind: dataflow.User, Err: errors.New("a sum has more than 38 digits"), Try: "cast what is summed to a float64"}

func (s *sums) addDecimals(gids []int32, xs []decimal128.Num) error {
	sum, bad := s.sum, int64(0)
	xs = xs[:len(gids)]
	for i, g := range gids {
		w := &sum[g]
		xh := xs[i].HighBits()
		lo, c := bits.Add64(w.lo, xs[i].LowBits(), 0)
		hi := w.hi + xh + int64(c)
		bad |= (w.hi ^ hi) & (xh ^ hi)
		w.lo, w.hi = lo, hi
	}
	if bad < 0 {
		return errSum
	}
	return nil
}

func addInts(sum []wide, gids []int32, xs []int64) {
	xs = xs[:len(gids)]
	for i, g := range gids {
		w := &sum[g]
		lo, c := bits.Add64(w.lo, uint64(xs[i]), 0)
		w.lo, w.hi = lo, w.hi+xs[i]>>63+int64(c)
	}
}

// numberAt is an integer or decimal.
func numberAt(a arrow.Array, i int) decimal128.Num {
	switch a := a.(type) {
	case *array.Decimal128:
		return a.Value(i)
	case *array.Int64:
		return decimal128.FromI64(a.Value(i))
	case *array.Int32:
		return decimal128.FromI64(int64(a.Value(i)))
	case *array.Int16:
		return decimal128.FromI64(int64(a.Value(i)))
	case *array.Int8:
		return decimal128.FromI64(int64(a.Value(i)))
	case *array.Uint64:
		return decimal128.FromU64(a.Value(i))
	case *array.Uint32:
		return decimal128.FromI64(int64(a.Value(i)))
	case *array.Uint16:
		return decimal128.FromI64(int64(a.Value(i)))
	case *array.Uint8:
		return decimal128.FromI64(int64(a.Value(i)))
	}
	panic("ops: no number: " + a.DataType().String())
}

func (s *sums) emit(mem memory.Allocator, from, to int) (arrow.Array, error) {
	n := to - from
	var valid *memory.Buffer
	nulls := 0
	if !s.zero {
		valid, nulls = s.valid(mem, from, to)
	}
	fail := func(err error) (arrow.Array, error) {
		if valid != nil {
			valid.Release()
		}
		return nil, err
	}
	if s.t.ID() == arrow.INT64 {
		buf := dataflow.NewBuffer(mem, 8*n)
		defer buf.Release()
		dst := arrow.Int64Traits.CastFromBytes(buf.Bytes())
		for i, w := range s.sum[from:to] {
			if dst[i] = int64(w.lo); w.hi != dst[i]>>63 {
				return fail(&dataflow.Error{Kind: dataflow.User, Err: fmt.Errorf("integer overflow: a sum is %s", decimal128.New(w.hi, w.lo).BigInt()), Try: "cast what is summed to a decimal"})
			}
		}
		return newArray(s.t, n, nulls, valid, buf), nil
	}
	buf := dataflow.NewBuffer(mem, 16*n)
	defer buf.Release()
	dst := arrow.Decimal128Traits.CastFromBytes(buf.Bytes())
	for i, w := range s.sum[from:to] {
		dst[i] = decimal128.New(w.hi, w.lo)
		if w.hi != int64(w.lo)>>63 && !dst[i].FitsInPrecision(38) {
			return fail(errSum)
		}
	}
	return newArray(s.t, n, nulls, valid, buf), nil
}

type floatSums struct {
	seen
	zero bool
	sum  []float64
}

func (s *floatSums) typ() arrow.DataType { return arrow.PrimitiveTypes.Float64 }
func (s *floatSums) bytesEach() int64    { return 14 }
func (s *floatSums) grow(n int)          { s.sum, s.has = resized(s.sum, n), resized(s.has, n) }
func (s *floatSums) reserve(n int)       { s.sum, s.has = roomy(s.sum, n), roomy(s.has, n) }
func (s *floatSums) reset()              { s.sum = s.sum[:0]; s.forget() }

func (s *floatSums) update(gids []int32, a arrow.Array) error {
	s.mark(gids, a)
	for i, g := range gids {
		if a.NullN() > 0 && a.IsNull(i) {
			continue
		}
		if f, ok := a.(*array.Float64); ok {
			s.sum[g] += f.Value(i)
		} else {
			s.sum[g] += float64(a.(*array.Float32).Value(i))
		}
	}
	return nil
}

func (s *floatSums) emit(mem memory.Allocator, from, to int) (arrow.Array, error) {
	buf := dataflow.NewBuffer(mem, 8*(to-from))
	defer buf.Release()
	copy(arrow.Float64Traits.CastFromBytes(buf.Bytes()), s.sum[from:to])
	if s.zero {
		return newArray(s.typ(), to-from, 0, nil, buf), nil
	}
	valid, nulls := s.valid(mem, from, to)
	return newArray(s.typ(), to-from, nulls, valid, buf), nil
}

type ordered interface {
	arrow.IntType | arrow.UintType | float32 | float64
}

// best keeps the smallest, the largest or just the first value of numbers.
type best[T ordered] struct {
	seen
	t   arrow.DataType
	how int
	v   []T
}

func newBest[T ordered](t arrow.DataType, how int) *best[T] {
	return &best[T]{t: t, how: how}
}

func (b *best[T]) typ() arrow.DataType { return b.t }
func (b *best[T]) bytesEach() int64    { return 14 }
func (b *best[T]) grow(n int)          { b.v, b.has = resized(b.v, n), resized(b.has, n) }
func (b *best[T]) reserve(n int)       { b.v, b.has = roomy(b.v, n), roomy(b.has, n) }
func (b *best[T]) reset()              { b.v = b.v[:0]; b.forget() }

func (b *best[T]) update(gids []int32, a arrow.Array) error {
	d := a.Data()
	vals := arrow.GetData[T](d.Buffers()[1].Bytes())[d.Offset() : d.Offset()+d.Len()]
	vals = vals[:len(gids)]
	var valid []byte
	if a.NullN() > 0 {
		valid = a.NullBitmapBytes()
	}
	have, has, off := b.v, b.has, d.Offset()
	for i, g := range gids {
		if valid != nil && valid[(off+i)>>3]>>((off+i)&7)&1 == 0 {
			continue
		}
		x := vals[i]
		if has[g] == 0 || b.better(x, have[g]) {
			have[g], has[g] = x, 1
		}
	}
	return nil
}

// better puts NaN behind all numbers.
func (b *best[T]) better(x, y T) bool {
	switch b.how {
	case -1:
		return x < y || y != y && x == x
	case 1:
		return x > y || x != x && y == y
	}
	return false
}

func (b *best[T]) emit(mem memory.Allocator, from, to int) (arrow.Array, error) {
	raw := arrow.GetBytes(b.v[from:to])
	buf := dataflow.NewBuffer(mem, len(raw))
	defer buf.Release()
	copy(buf.Bytes(), raw)
	valid, nulls := b.valid(mem, from, to)
	return newArray(b.t, to-from, nulls, valid, buf), nil
}

// bestValues is best for decimals, text and truth.
type bestValues struct {
	seen
	t    arrow.DataType
	how  int
	nums []decimal128.Num
	text []string
}

func (b *bestValues) typ() arrow.DataType { return b.t }
func (b *bestValues) bytesEach() int64    { return 48 }
func (b *bestValues) reset()              { b.nums, b.text = b.nums[:0], b.text[:0]; b.forget() }

func (b *bestValues) grow(n int) {
	b.has = resized(b.has, n)
	if isText(b.t) {
		b.text = resized(b.text, n)
	} else {
		b.nums = resized(b.nums, n)
	}
}

func (b *bestValues) reserve(int) {} // its values lie elsewhere

func (b *bestValues) update(gids []int32, a arrow.Array) error {
	for i, g := range gids {
		if a.IsNull(i) || b.how == 0 && b.has[g] == 1 {
			continue
		}
		switch a := a.(type) {
		case *array.Decimal128:
			b.number(g, a.Value(i))
		case *array.Boolean:
			x := int64(0)
			if a.Value(i) {
				x = 1
			}
			b.number(g, decimal128.FromI64(x))
		case *array.String:
			b.string(g, a.Value(i))
		case *array.Binary:
			b.string(g, string(a.Value(i)))
		}
	}
	return nil
}

func (b *bestValues) number(g int32, x decimal128.Num) {
	if b.has[g] == 0 || x.Cmp(b.nums[g])*b.how > 0 {
		b.nums[g], b.has[g] = x, 1
	}
}

func (b *bestValues) string(g int32, x string) {
	if b.has[g] == 0 || cmp.Compare(x, b.text[g])*b.how > 0 {
		b.text[g], b.has[g] = strings.Clone(x), 1
	}
}

func (b *bestValues) emit(mem memory.Allocator, from, to int) (arrow.Array, error) {
	rb := array.NewBuilder(mem, b.t)
	defer rb.Release()
	for i := from; i < to; i++ {
		if b.has[i] == 0 {
			rb.AppendNull()
			continue
		}
		switch rb := rb.(type) {
		case *array.Decimal128Builder:
			rb.Append(b.nums[i])
		case *array.BooleanBuilder:
			rb.Append(b.nums[i].Sign() != 0)
		case *array.StringBuilder:
			rb.Append(b.text[i])
		case *array.BinaryBuilder:
			rb.Append([]byte(b.text[i]))
		}
	}
	return rb.NewArray(), nil
}
