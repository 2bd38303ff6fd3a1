package main

import (
	"encoding/binary"

	df "github.com/divisi-data/divisi/dataflow"
)

// rowsPerPart and partsMin say how many files gen makes when nobody does: of 100 MB
// each, and so many at least that a small cluster has something to do at once.
const (
	rowsPerPart = 1_000_000
	partsMin    = 8
)

// rows are records to be made, by number.
type rows struct{ From, To int64 }

func generated(j *df.Job, n int64, parts int) df.Dataset[df.Record] {
	if parts <= 0 {
		parts = int(max((n+rowsPerPart-1)/rowsPerPart, min(partsMin, n/1000), 1))
	}
	var ranges []rows
	for i := range int64(parts) {
		// i*n/parts without overflow, and differing by one at most.
		p := int64(parts)
		at := func(i int64) int64 { return n/p*i + min(i, n%p) }
		ranges = append(ranges, rows{at(i), at(i + 1)})
	}
	return df.FlatMap(df.Read(j, df.FromSlice(ranges).Splits(parts)), generate).Named("Generate")
}

// generate makes the records of a range. A block of records is allocated at a time:
// what is emitted is not ours any more.
func generate(r rows, emit df.Emit[df.Record]) {
	const block = 1000
	var buf []byte
	for row := r.From; row < r.To; row++ {
		if len(buf) == 0 {
			buf = make([]byte, block*recordBytes)
		}
		rec := buf[:recordBytes:recordBytes]
		buf = buf[recordBytes:]
		fill(rec, uint64(row))
		emit(df.Record{Key: rec[:keyBytes:keyBytes], Value: rec[keyBytes:]})
	}
}

// fill makes record number row: 10 bytes of key, 00 11, the number as 32 hexadecimal
// digits, 88 99 AA BB, 12 digits four times each, CC DD EE FF.
func fill(rec []byte, row uint64) {
	const digits = "0123456789ABCDEF"
	a, b := mix(2*row), mix(2*row+1)
	binary.BigEndian.PutUint64(rec, a)
	binary.BigEndian.PutUint16(rec[8:], uint16(b>>48))
	rec[10], rec[11] = 0x00, 0x11
	for i := range 16 {
		rec[12+i] = '0' // the upper half of a number of 128 bits
		rec[28+i] = digits[row>>(60-4*i)&15]
	}
	copy(rec[44:], "\x88\x99\xaa\xbb")
	for i := range 12 {
		d := digits[b>>(4*i)&15]
		copy(rec[48+4*i:], []byte{d, d, d, d})
	}
	copy(rec[96:], "\xcc\xdd\xee\xff")
}

// mix is the n-th number of the generator SplitMix64: all bits equally random.
func mix(n uint64) uint64 {
	z := (n + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
