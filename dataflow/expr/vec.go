package expr

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// A vec is the values of an expression for the rows at hand. It is read only once
// made: it may be part of a batch, or be used again in the expression.
type vec struct {
	kind  kind
	konst bool    // one value stands for all rows
	valid []uint8 // 1 where there is a value, 0 for null; nil where no row is null

	bits []uint8 // kBool: 0 or 1
	i32  []int32
	i64  []int64
	dec  []decimal128.Num
	f64  []float64
	// Text of row i is data[from[i]:to[i]].
	from, to []int32
	data     []byte
}

// step makes index i of a row the index of its value: i & step.
func (v *vec) step() int {
	if v.konst {
		return 0
	}
	return -1
}

func (v *vec) null(i int) bool { return v.valid != nil && v.valid[i&v.step()] == 0 }

func (v *vec) text(i int) []byte {
	i &= v.step()
	return v.data[v.from[i]:v.to[i]]
}

// num is a decimal, however it lies.
func (v *vec) num(i int) decimal128.Num {
	i &= v.step()
	if v.kind == kI64 {
		return decimal128.FromI64(v.i64[i])
	}
	return v.dec[i]
}

// allNull is a constant null.
func (v *vec) allNull() bool { return v.kind == kNull || v.konst && v.valid != nil && v.valid[0] == 0 }

// constant is the vec of a literal.
func constant(l literal) *vec {
	v := &vec{kind: kindOf(l.typ), konst: true}
	if l.null {
		v.valid = []uint8{0}
	}
	switch v.kind {
	case kBool:
		v.bits = []uint8{uint8(l.i)}
	case kI32:
		v.i32 = []int32{int32(l.i)}
	case kI64:
		v.i64 = []int64{l.i}
	case kDec:
		if n, ok := small(l.d); ok {
			v.kind, v.i64 = kI64, []int64{n}
		} else {
			v.dec = []decimal128.Num{l.d}
		}
	case kF64:
		v.f64 = []float64{l.f}
	case kText:
		v.from, v.to, v.data = []int32{0}, []int32{int32(len(l.s))}, []byte(l.s)
	}
	return v
}

// literalOf is the constant vec v as a literal of type t.
func (v *vec) at(i int) (l literal) {
	if l.null = v.null(i); l.null || v.kind == kNull {
		l.null = true
		return l
	}
	i &= v.step()
	switch v.kind {
	case kBool:
		l.i = int64(v.bits[i])
	case kI32:
		l.i = int64(v.i32[i])
	case kI64:
		l.i, l.d = v.i64[i], decimal128.FromI64(v.i64[i])
	case kDec:
		l.d = v.dec[i]
	case kF64:
		l.f = v.f64[i]
	case kText:
		l.s = string(v.text(i))
	}
	return l
}

// small is a decimal as an int64, if it fits.
func small(d decimal128.Num) (int64, bool) {
	lo := int64(d.LowBits())
	return lo, d.HighBits() == lo>>63
}

// A pool hands out slices and takes all of them back at once: the memory of one
// batch serves the next.
type pool[T any] struct {
	all  [][]T
	next int
}

func (p *pool[T]) get(n int) []T {
	if p.next == len(p.all) {
		p.all = append(p.all, nil)
	}
	s := p.all[p.next]
	if cap(s) < n {
		s = make([]T, max(n, min(2*cap(s), math.MaxInt32)))
		p.all[p.next] = s
	}
	p.next++
	return s[:n]
}

func (p *pool[T]) reset() { p.next = 0 }

type pools struct {
	u8  pool[uint8]
	i32 pool[int32]
	i64 pool[int64]
	dec pool[decimal128.Num]
	f64 pool[float64]
}

func (p *pools) reset() {
	p.u8.reset()
	p.i32.reset()
	p.i64.reset()
	p.dec.reset()
	p.f64.reset()
}

func b2u(b bool) uint8 {
	var x uint8
	if b {
		x = 1
	}
	return x
}

// bothValid is where neither is null. A constant has a value here.
func (f *frame) bothValid(a, b *vec) []uint8 {
	switch {
	case a.valid == nil || a.konst:
		if b.konst {
			return nil
		}
		return b.valid
	case b.valid == nil || b.konst:
		return a.valid
	}
	out := f.u8.get(f.n)
	x, y := a.valid[:len(out)], b.valid[:len(out)]
	for i := range out {
		out[i] = x[i] & y[i]
	}
	return out
}
