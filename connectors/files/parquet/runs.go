package parquet

import (
	"encoding/binary"
	"errors"
)

// runs is a page's levels or numbers into a dictionary: parts of one value repeated, and
// parts of values packed into bits. Any of them can be read without those before it.
type runs struct {
	width uint
	list  []oneRun
	data  []byte // of all packed parts, with room for reading eight bytes anywhere
	at    int    // in list, where the last reading was
}

type oneRun struct {
	from, end int    // of the values
	value     uint32 // that is repeated, where packed < 0
	packed    int    // where in data the first value is
}

var errRuns = errors.New("a page's runs of values end before their time")

// parse reads the runs of n values of so many bits from data.
func (r *runs) parse(data []byte, width uint, n int) error {
	r.width, r.list, r.data, r.at = width, r.list[:0], r.data[:0], 0
	if width > 32 {
		return errors.New("values of more than 32 bits")
	}
	for at := 0; at < n; {
		head, used := binary.Uvarint(data)
		if used <= 0 {
			return errRuns
		}
		data = data[used:]
		count := head >> 1
		if head&1 == 0 {
			size := int(width+7) / 8
			if len(data) < size {
				return errRuns
			}
			run := oneRun{from: at, end: at + int(min(count, uint64(n-at))), packed: -1}
			for i := range size {
				run.value |= uint32(data[i]) << (8 * i)
			}
			data = data[size:]
			r.list, at = append(r.list, run), run.end
			continue
		}
		count = min(count, uint64(n))
		values := int(count) * 8
		size := int(count) * int(width)
		if size > len(data) { // the last part may be cut at its last value
			if size = (min(values, n-at)*int(width) + 7) / 8; size > len(data) {
				return errRuns
			}
		}
		run := oneRun{from: at, end: min(n, at+values), packed: len(r.data)}
		r.data = append(r.data, data[:size]...)
		data = data[size:]
		r.list, at = append(r.list, run), run.end
	}
	r.data = append(r.data, 0, 0, 0, 0, 0, 0, 0, 0)
	return nil
}

// all reports whether every value is v.
func (r *runs) all(v uint32) bool {
	for _, run := range r.list {
		if run.packed >= 0 || run.value != v {
			return false
		}
	}
	return true
}

// read puts the values from, ..., from+len(dst)-1 into dst. Readings go forward.
func (r *runs) read(dst []uint32, from int) {
	for len(dst) > 0 {
		run := r.find(from)
		n := min(len(dst), run.end-from)
		out := dst[:n]
		if run.packed < 0 {
			for i := range out {
				out[i] = run.value
			}
		} else {
			unpack(out, r.data[run.packed:], uint(from-run.from)*r.width, r.width)
		}
		dst, from = dst[n:], from+n
	}
}

// unpack takes values of so many bits each from a place in bits on. Behind the last there
// are eight bytes more.
func unpack(dst []uint32, data []byte, bit, width uint) {
	mask := uint64(1)<<width - 1
	if width <= 14 { // four lie in eight bytes, wherever they begin
		for len(dst) >= 4 {
			x := binary.LittleEndian.Uint64(data[bit>>3:]) >> (bit & 7)
			four := dst[:4]
			four[0] = uint32(x & mask)
			x >>= width & 15
			four[1] = uint32(x & mask)
			x >>= width & 15
			four[2] = uint32(x & mask)
			x >>= width & 15
			four[3] = uint32(x & mask)
			dst, bit = dst[4:], bit+4*width
		}
	}
	for i := range dst {
		dst[i] = uint32(binary.LittleEndian.Uint64(data[bit>>3:]) >> (bit & 7) & mask)
		bit += width
	}
}

// pick is read for the values at places, which are in order.
func (r *runs) pick(dst []uint32, places []int32) {
	mask := uint64(1)<<r.width - 1
	for len(places) > 0 {
		run := r.find(int(places[0]))
		k := 0
		if run.packed < 0 {
			for ; k < len(places) && int(places[k]) < run.end; k++ {
				dst[k] = run.value
			}
		} else {
			data := r.data[run.packed:]
			for ; k < len(places) && int(places[k]) < run.end; k++ {
				bit := uint(int(places[k])-run.from) * r.width
				dst[k] = uint32(binary.LittleEndian.Uint64(data[bit>>3:]) >> (bit & 7) & mask)
			}
		}
		dst, places = dst[k:], places[k:]
	}
}

func (r *runs) find(at int) *oneRun {
	for r.list[r.at].end <= at {
		r.at++
	}
	return &r.list[r.at]
}
