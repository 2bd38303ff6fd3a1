package main

// A mean gathers points. Its sums are exact: a sum of floats that is rounded at
// each step depends on the order of its terms, and tasks deliver them in any order.
type mean struct {
	N   int64
	Sum []exact // by coordinate
}

func (m mean) add(x []float64) mean {
	if m.Sum == nil {
		m.Sum = make([]exact, len(x))
	}
	m.N++
	for i, v := range x {
		m.Sum[i].add(v)
	}
	return m
}

func (m mean) merge(o mean) mean {
	if m.Sum == nil {
		return o
	}
	m.N += o.N
	for i := range o.Sum {
		for _, v := range o.Sum[i].Parts {
			m.Sum[i].add(v)
		}
	}
	return m
}

func (m mean) value() []float64 {
	x := make([]float64, len(m.Sum))
	for i := range x {
		x[i] = m.Sum[i].value() / float64(m.N)
	}
	return x
}

// An exact sum is floats that do not overlap, the smallest first (Shewchuk, Adaptive
// Precision Floating-Point Arithmetic, 1997): what each addition rounds off is kept
// as a part of its own.
type exact struct{ Parts []float64 }

func (e *exact) add(x float64) {
	kept := e.Parts[:0]
	for _, y := range e.Parts {
		hi := x + y
		v := hi - x
		if lo := (x - (hi - v)) + (y - v); lo != 0 {
			kept = append(kept, lo)
		}
		x = hi
	}
	e.Parts = append(kept, x)
}

// value is the sum rounded once, to the nearest float: the same for all lists of
// parts of the same sum.
func (e *exact) value() float64 {
	i := len(e.Parts) - 1
	if i < 0 {
		return 0
	}
	hi, lo := e.Parts[i], 0.0
	for i--; i >= 0 && lo == 0; i-- {
		x, y := hi, e.Parts[i]
		hi = x + y
		lo = y - (hi - x)
	}
	// What is left decides when hi lies half-way between two floats.
	if i >= 0 && (lo < 0 && e.Parts[i] < 0 || lo > 0 && e.Parts[i] > 0) {
		if y := 2 * lo; (hi+y)-hi == y {
			hi += y
		}
	}
	return hi
}
