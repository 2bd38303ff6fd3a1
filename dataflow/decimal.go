package dataflow

import (
	"fmt"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// A Decimal is an exact number: 128 bits times a power of ten. The zero value is 0.
// As a field it is a column of decimal(38,9), or of what its tag says:
//
//	Price df.Decimal `df:"price,decimal(15,2)"`
//
// A value with more digits after the point than its column fails the task.
type Decimal struct {
	num   decimal128.Num
	scale int32
}

// NewDecimal is unscaled / 10^scale.
func NewDecimal(unscaled int64, scale int) Decimal {
	return Decimal{decimal128.FromI64(unscaled), int32(scale)}
}

// ParseDecimal reads "-12.340"; digits after the point are kept, zeros too.
func ParseDecimal(s string) (Decimal, error) {
	whole, frac, _ := strings.Cut(s, ".")
	digits := strings.TrimLeft(whole, "+-")
	if digits+frac == "" || strings.Trim(digits+frac, "0123456789") != "" || len(whole)-len(digits) > 1 || len(frac) > 38 {
		return Decimal{}, fmt.Errorf("%q is not a decimal number", s)
	}
	n, err := decimal128.FromString(s, 38, int32(len(frac)))
	if err != nil {
		return Decimal{}, fmt.Errorf("%q is not a decimal number of 38 digits: %w", s, err)
	}
	return Decimal{n, int32(len(frac))}, nil
}

// String has as many digits after the point as the scale says.
func (d Decimal) String() string { return d.num.ToString(d.scale) }

// Float64 is the nearest float.
func (d Decimal) Float64() float64 { return d.num.ToFloat64(d.scale) }

// Scale is the number of digits after the point.
func (d Decimal) Scale() int { return int(d.scale) }

// Add is the exact sum, in the larger scale of the two.
func (d Decimal) Add(e Decimal) Decimal {
	d, e = alignDecimals(d, e)
	return Decimal{d.num.Add(e.num), d.scale}
}

// Sub is the exact difference.
func (d Decimal) Sub(e Decimal) Decimal { return d.Add(Decimal{e.num.Negate(), e.scale}) }

// Mul is the exact product; its scale is the sum of the two.
func (d Decimal) Mul(e Decimal) Decimal { return Decimal{d.num.Mul(e.num), d.scale + e.scale} }

// Cmp orders by value: 1.0 and 1.00 are the same.
func (d Decimal) Cmp(e Decimal) int {
	d, e = alignDecimals(d, e)
	return d.num.Cmp(e.num)
}

func alignDecimals(d, e Decimal) (Decimal, Decimal) {
	if d.scale < e.scale {
		d = Decimal{d.num.IncreaseScaleBy(e.scale - d.scale), e.scale}
	}
	if e.scale < d.scale {
		e = Decimal{e.num.IncreaseScaleBy(d.scale - e.scale), d.scale}
	}
	return d, e
}

var decimalTag = regexp.MustCompile(`^decimal\((\d+),(\d+)\)$`)

func decimalLayout(path, opts string) (*layout, error) {
	t := &arrow.Decimal128Type{Precision: 38, Scale: 9}
	if opts != "" {
		m := decimalTag.FindStringSubmatch(opts)
		if m == nil {
			return nil, fmt.Errorf("%s: tag option %q is not decimal(precision,scale)", path, opts)
		}
		p, _ := strconv.Atoi(m[1])
		s, _ := strconv.Atoi(m[2])
		if p < 1 || p > 38 || s > p {
			return nil, fmt.Errorf("%s: %s is not possible: a precision is 1 to 38, a scale at most the precision", path, opts)
		}
		t = &arrow.Decimal128Type{Precision: int32(p), Scale: int32(s)}
	}
	return &layout{
		goType: decimalType, typ: t,
		column: func(w *columns) column { return &fixedColumn[decimal128.Num]{base: base{w: w, typ: t}} },
		put: func(c column) func(unsafe.Pointer) {
			f := c.(*fixedColumn[decimal128.Num])
			return func(p unsafe.Pointer) {
				d := (*Decimal)(p)
				n := d.num
				if d.scale != t.Scale {
					var err error
					if n, err = n.Rescale(d.scale, t.Scale); err != nil {
						panic(&Error{Op: "encode", Kind: User, Err: fmt.Errorf("%s does not fit %s: %w", d, t, err)})
					}
				}
				if !n.FitsInPrecision(t.Precision) {
					panic(&Error{Op: "encode", Kind: User, Err: fmt.Errorf("%s does not fit %s", d, t)})
				}
				f.append(n)
			}
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			v := a.(*array.Decimal128)
			return func(i int, p unsafe.Pointer) { *(*Decimal)(p) = Decimal{v.Value(i), t.Scale} }
		},
		hash: func(p unsafe.Pointer, seed uint64) uint64 {
			d := (*Decimal)(p)
			return mix64(d.num.LowBits(), mix64(bits.RotateLeft64(uint64(d.num.HighBits()), 32), seed+uint64(d.scale)))
		},
		cmp: func(p, q unsafe.Pointer) int { return (*Decimal)(p).Cmp(*(*Decimal)(q)) },
	}, nil
}
