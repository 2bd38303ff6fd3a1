package ops

import (
	"cmp"
	"fmt"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// newSlide is an aggregate of values of a type.
func newSlide(fn string, t arrow.DataType) (slide, error) {
	switch fn {
	case "count":
		return &slideOf[int64]{t: arrow.PrimitiveTypes.Int64, load: loadOnes, join: addOnes, make: makeCounts}, nil
	case "sum", "wide_sum":
		switch acc, err := newAccumulator(fn, t); acc := acc.(type) {
		case *floatSums:
			return &slideOf[float64]{t: acc.typ(), load: loadFloats, join: addFloats, make: func(mem memory.Allocator, vs []boxed[float64]) (arrow.Array, error) {
				return makeNumbers(mem, acc.typ(), vs)
			}}, nil
		case *sums:
			return &slideOf[wide]{t: acc.typ(), load: loadWide, join: addWide, make: func(mem memory.Allocator, vs []boxed[wide]) (arrow.Array, error) {
				return makeSums(mem, acc, vs)
			}}, nil
		default:
			return nil, err
		}
	case "min", "max":
		return newBestSlide(fn, t)
	}
	return nil, fmt.Errorf("there is no aggregate %q over frames", fn)
}

func newBestSlide(fn string, t arrow.DataType) (slide, error) {
	acc, err := newAccumulator(fn, t)
	switch b := acc.(type) {
	case *best[int8]:
		return bestSlide(b), nil
	case *best[int16]:
		return bestSlide(b), nil
	case *best[int32]:
		return bestSlide(b), nil
	case *best[int64]:
		return bestSlide(b), nil
	case *best[uint8]:
		return bestSlide(b), nil
	case *best[uint16]:
		return bestSlide(b), nil
	case *best[uint32]:
		return bestSlide(b), nil
	case *best[uint64]:
		return bestSlide(b), nil
	case *best[float32]:
		return bestSlide(b), nil
	case *best[float64]:
		return bestSlide(b), nil
	case *bestValues:
		if isText(t) {
			return &slideOf[string]{t: t, load: loadText, join: func(a, b string) string {
				if cmp.Compare(b, a)*acc.(*bestValues).how > 0 {
					return b
				}
				return a
			}, make: func(mem memory.Allocator, vs []boxed[string]) (arrow.Array, error) { return makeText(mem, t, vs), nil }}, nil
		}
		return &slideOf[decimal128.Num]{t: t, load: loadDecimals, join: func(x, y decimal128.Num) decimal128.Num {
			if y.Cmp(x)*b.how > 0 {
				return y
			}
			return x
		}, make: func(mem memory.Allocator, vs []boxed[decimal128.Num]) (arrow.Array, error) {
			return makeDecimals(mem, t, vs), nil
		}}, nil
	}
	return nil, err
}

func bestSlide[T ordered](b *best[T]) slide {
	return &slideOf[T]{t: b.t, load: loadNumbers[T], join: func(x, y T) T {
		if b.better(y, x) {
			return y
		}
		return x
	}, make: func(mem memory.Allocator, vs []boxed[T]) (arrow.Array, error) { return makeNumbers(mem, b.t, vs) }}
}

func loadOnes(dst []boxed[int64], a arrow.Array, from, to int) []boxed[int64] {
	for i := from; i < to; i++ {
		dst = append(dst, boxed[int64]{1, a.IsValid(i)})
	}
	return dst
}

func addOnes(a, b int64) int64 { return a + b }

// makeCounts says 0 where nothing is counted.
func makeCounts(mem memory.Allocator, vs []boxed[int64]) (arrow.Array, error) {
	buf := zeroBytes(mem, 8*len(vs))
	defer buf.Release()
	dst := arrow.Int64Traits.CastFromBytes(buf.Bytes())
	for i, v := range vs {
		if v.has {
			dst[i] = v.v
		}
	}
	return newArray(arrow.PrimitiveTypes.Int64, len(vs), 0, nil, buf), nil
}

func loadNumbers[T ordered](dst []boxed[T], a arrow.Array, from, to int) []boxed[T] {
	for i, v := range arrow.GetData[T](a.Data().Buffers()[1].Bytes())[a.Data().Offset()+from : a.Data().Offset()+to] {
		dst = append(dst, boxed[T]{v, a.IsValid(from + i)})
	}
	return dst
}

func makeNumbers[T ordered](mem memory.Allocator, t arrow.DataType, vs []boxed[T]) (arrow.Array, error) {
	var x T
	buf := zeroBytes(mem, len(vs)*len(arrow.GetBytes([]T{x})))
	defer buf.Release()
	dst := arrow.GetData[T](buf.Bytes())
	for i, v := range vs {
		if v.has {
			dst[i] = v.v
		}
	}
	valid, nulls := validOf(mem, vs)
	return newArray(t, len(vs), nulls, valid, buf), nil
}

// validOf is nil where nothing is null.
func validOf[V any](mem memory.Allocator, vs []boxed[V]) (*memory.Buffer, int) {
	nulls := 0
	for _, v := range vs {
		if !v.has {
			nulls++
		}
	}
	if nulls == 0 {
		return nil, 0
	}
	buf := zeroBytes(mem, (len(vs)+7)/8)
	for i, v := range vs {
		if v.has {
			buf.Bytes()[i/8] |= 1 << (i % 8)
		}
	}
	return buf, nulls
}

func loadFloats(dst []boxed[float64], a arrow.Array, from, to int) []boxed[float64] {
	for i := from; i < to; i++ {
		v := boxed[float64]{has: a.IsValid(i)}
		if f, ok := a.(*array.Float64); ok {
			v.v = f.Value(i)
		} else {
			v.v = float64(a.(*array.Float32).Value(i))
		}
		dst = append(dst, v)
	}
	return dst
}

func addFloats(a, b float64) float64 { return a + b }

func loadWide(dst []boxed[wide], a arrow.Array, from, to int) []boxed[wide] {
	for i := from; i < to; i++ {
		v := boxed[wide]{has: a.IsValid(i)}
		if v.has {
			n := numberAt(a, i)
			v.v = wide{n.LowBits(), n.HighBits()}
		}
		dst = append(dst, v)
	}
	return dst
}

// wideOverflow is the sum of what is too large for 128 bits; it stays that.
var wideOverflow = wide{0, -1 << 63}

func addWide(a, b wide) wide {
	lo, c := bits.Add64(a.lo, b.lo, 0)
	hi := a.hi + b.hi + int64(c)
	if (a.hi^hi)&(b.hi^hi) < 0 || a == wideOverflow || b == wideOverflow {
		return wideOverflow
	}
	return wide{lo, hi}
}

// makeSums lets the accumulator of sums of the type spell them.
func makeSums(mem memory.Allocator, acc *sums, vs []boxed[wide]) (arrow.Array, error) {
	acc.reset()
	acc.grow(len(vs))
	for i, v := range vs {
		if v.has {
			acc.sum[i], acc.has[i] = v.v, 1
		}
		if v.v == wideOverflow {
			return nil, errSum
		}
	}
	return acc.emit(mem, 0, len(vs))
}

func loadDecimals(dst []boxed[decimal128.Num], a arrow.Array, from, to int) []boxed[decimal128.Num] {
	for i := from; i < to; i++ {
		v := boxed[decimal128.Num]{has: a.IsValid(i)}
		if v.has {
			if b, ok := a.(*array.Boolean); ok {
				if b.Value(i) {
					v.v = decimal128.FromI64(1)
				}
			} else {
				v.v = a.(*array.Decimal128).Value(i)
			}
		}
		dst = append(dst, v)
	}
	return dst
}

func makeDecimals(mem memory.Allocator, t arrow.DataType, vs []boxed[decimal128.Num]) arrow.Array {
	rb := array.NewBuilder(mem, t)
	defer rb.Release()
	for _, v := range vs {
		switch rb := rb.(type) {
		case *array.Decimal128Builder:
			if v.has {
				rb.Append(v.v)
				continue
			}
		case *array.BooleanBuilder:
			if v.has {
				rb.Append(v.v.Sign() != 0)
				continue
			}
		}
		rb.AppendNull()
	}
	return rb.NewArray()
}

func loadText(dst []boxed[string], a arrow.Array, from, to int) []boxed[string] {
	for i := from; i < to; i++ {
		v := boxed[string]{has: a.IsValid(i)}
		if v.has {
			switch a := a.(type) {
			case *array.String:
				v.v = a.Value(i)
			case *array.Binary:
				v.v = string(a.Value(i))
			}
		}
		dst = append(dst, v)
	}
	return dst
}

func makeText(mem memory.Allocator, t arrow.DataType, vs []boxed[string]) arrow.Array {
	rb := array.NewBuilder(mem, t)
	defer rb.Release()
	for _, v := range vs {
		switch rb := rb.(type) {
		case *array.StringBuilder:
			if v.has {
				rb.Append(v.v)
				continue
			}
		case *array.BinaryBuilder:
			if v.has {
				rb.Append([]byte(v.v))
				continue
			}
		}
		rb.AppendNull()
	}
	return rb.NewArray()
}
