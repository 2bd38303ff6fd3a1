package sketch

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// A Distinct estimates how many different values it was given, by their hashes
// (HyperLogLog). While there are few it keeps a short piece of each hash, in order, and
// its estimate is off by a fraction of a percent at most; with more than about 4,000 it
// keeps 2^14 registers, and the standard error is 0.81 %: two of three estimates are
// closer, 997 of 1000 closer than 2.5 %. The zero value is empty.
//
// What it holds depends on the set of hashes alone.
type Distinct struct {
	// While dense is nil: entries in order, each index once, and some that were not put
	// in order yet. An entry is the first 25 bits of a hash and the number of the first
	// bit of the rest that is set.
	sparse, fresh []uint32
	dense         []uint8 // registers: the largest number of a first set bit
}

const (
	denseBits  = 14
	registers  = 1 << denseBits
	sparseBits = 25
	rankBits   = 6
	// sparseMax entries are as large as the registers.
	sparseMax = registers / 4
	freshMin  = 16
)

// Add takes the hash of a value, of which all bits are used.
func (d *Distinct) Add(hash uint64) {
	if d.dense != nil {
		d.register(hash>>(64-denseBits), uint8(min(bits.LeadingZeros64(hash<<denseBits), 64-denseBits)+1))
		return
	}
	e := entryOf(hash)
	if n := len(d.fresh); n > 0 && d.fresh[n-1] == e {
		return
	}
	d.put(e)
}

func entryOf(hash uint64) uint32 {
	rank := min(bits.LeadingZeros64(hash<<sparseBits), 64-sparseBits) + 1
	return uint32(hash>>(64-sparseBits))<<rankBits | uint32(rank)
}

func (d *Distinct) put(e uint32) {
	d.fresh = append(d.fresh, e)
	if len(d.fresh) >= max(freshMin, len(d.sparse)/4) {
		d.settle()
	}
}

func (d *Distinct) register(index uint64, rank uint8) {
	if rank > d.dense[index] {
		d.dense[index] = rank
	}
}

// settle puts fresh entries in order, and turns to registers when there are many.
func (d *Distinct) settle() {
	if len(d.fresh) == 0 {
		return
	}
	slices.Sort(d.fresh)
	merged := make([]uint32, 0, len(d.sparse)+len(d.fresh))
	a, b := d.sparse, d.fresh
	for len(a)+len(b) > 0 {
		var e uint32
		if len(b) == 0 || len(a) > 0 && a[0] <= b[0] {
			e, a = a[0], a[1:]
		} else {
			e, b = b[0], b[1:]
		}
		// Of one index the largest rank stays, which comes last.
		if n := len(merged); n > 0 && merged[n-1]>>rankBits == e>>rankBits {
			merged[n-1] = e
		} else {
			merged = append(merged, e)
		}
	}
	d.sparse, d.fresh = merged, d.fresh[:0]
	if len(d.sparse) > sparseMax {
		d.densify()
	}
}

func (d *Distinct) densify() {
	d.dense = make([]uint8, registers)
	for _, e := range d.sparse {
		d.entry(e)
	}
	d.sparse, d.fresh = nil, nil
}

// entry puts an entry into the registers.
func (d *Distinct) entry(e uint32) {
	const between = sparseBits - denseBits // bits of the index that are no register's number
	index, rank := e>>rankBits, uint8(e&(1<<rankBits-1))
	if low := index & (1<<between - 1); low != 0 {
		rank = uint8(bits.LeadingZeros32(low<<(32-between)) + 1)
	} else {
		rank += between
	}
	d.register(uint64(index>>between), rank)
}

// Merge adds what another was given.
func (d *Distinct) Merge(o *Distinct) {
	o.settle()
	d.settle()
	switch {
	case o.dense != nil:
		if d.dense == nil {
			d.densify()
		}
		for i, r := range o.dense {
			d.dense[i] = max(d.dense[i], r)
		}
	case d.dense != nil:
		for _, e := range o.sparse {
			d.entry(e)
		}
	default:
		d.fresh = append(d.fresh, o.sparse...)
		d.settle()
	}
}

// Count is the estimate.
func (d *Distinct) Count() int64 {
	d.settle()
	if d.dense == nil { // linear counting: how many of 2^25 places are free
		const m = 1 << sparseBits
		return int64(math.Round(m * math.Log(m/float64(m-len(d.sparse)))))
	}
	// Ertl's estimator, which needs no tables of corrections: from how many registers
	// hold each number.
	const q, m = 64 - denseBits, float64(registers)
	var have [q + 2]float64
	for _, r := range d.dense {
		have[r]++
	}
	z := m * tau(1-have[q+1]/m)
	for k := q; k >= 1; k-- {
		z = 0.5 * (z + have[k])
	}
	z += m * sigma(have[0]/m)
	return int64(math.Round(m * m / (2 * math.Ln2 * z)))
}

// sigma and tau correct for registers that are empty and full.
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		before := z
		z += x * y
		y += y
		if z == before {
			return z
		}
	}
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		z -= (1 - x) * (1 - x) * y
		if z == before {
			return z / 3
		}
	}
}

// Bytes is about how much memory it takes.
func (d *Distinct) Bytes() int64 {
	return int64(4*cap(d.sparse)+4*cap(d.fresh)+cap(d.dense)) + 72
}

const (
	sparseMark = 1
	denseMark  = 2
)

// Append adds its bytes to b: a mark, then entries of four bytes or registers.
func (d *Distinct) Append(b []byte) []byte {
	d.settle()
	if d.dense != nil {
		return append(append(b, denseMark), d.dense...)
	}
	b = append(b, sparseMark)
	for _, e := range d.sparse {
		b = binary.LittleEndian.AppendUint32(b, e)
	}
	return b
}

// MergeBytes is Merge of what Append made. It fails with ErrDamaged where that is not
// what b is.
func (d *Distinct) MergeBytes(b []byte) error {
	var o Distinct
	switch {
	case len(b) == 0:
		return ErrDamaged
	case b[0] == denseMark && len(b) == 1+registers:
		for _, r := range b[1:] {
			if r > 64-denseBits+1 {
				return ErrDamaged
			}
		}
		o.dense = b[1:]
	case b[0] == sparseMark && len(b)%4 == 1 && len(b) <= 1+4*sparseMax:
		o.sparse = make([]uint32, len(b)/4)
		for i := range o.sparse {
			e := binary.LittleEndian.Uint32(b[1+4*i:])
			if rank := e & (1<<rankBits - 1); rank == 0 || rank > 64-sparseBits+1 || e>>(sparseBits+rankBits) != 0 ||
				i > 0 && o.sparse[i-1]>>rankBits >= e>>rankBits {
				return ErrDamaged
			}
			o.sparse[i] = e
		}
	default:
		return ErrDamaged
	}
	d.Merge(&o)
	return nil
}
