package dataflow

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/zeebo/xxh3"

	"github.com/divisi-data/divisi/internal/bare"
)

// The hash of a row is part of the journal (receipts) and of what two sides of a
// join agree on, so it is the same in every process and every release. A row
// starts as hashSeed; each column is folded in by fold. A value's own hash is:
//
//	null                      hashNull
//	bool, integers            mix(int64 value + hashInt)
//	dates, times, durations   the same, of the stored integer
//	floats                    mix(bits as float64 + hashFloat); -0 is 0, one NaN
//	strings, binary           XXH3 of the bytes
//	decimals, intervals       XXH3 of the little-endian bytes
//	dictionary, extension     that of the value it stands for
//	struct                    its fields folded into hashStruct
//	list, map                 its elements folded into hashList + length
const (
	hashSeed   = 0x9e3779b97f4a7c15
	hashNull   = 0xd6e8feb86659fd93
	hashInt    = 0xa0761d6478bd642f
	hashFloat  = 0xe7037ed1a0b428db
	hashStruct = 0x8ebc6af09c88c6e3
	hashList   = 0x589965cc75374cc3
	hashFold   = 0x9fb21c651e98df25
)

// mix is a bijection in which every bit of x moves about half the bits of the
// result (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// fold adds a column's value to the hash of a row.
func fold(h, v uint64) uint64 { return mix(fold0(h) + v) }

func fold0(h uint64) uint64 { return bits.RotateLeft64(h, 29) * hashFold }

// RowHash is a hash of the rows of a batch whatever their order: the sum over the
// rows of the hash of all their columns. The hash of several batches is the sum
// of theirs. Column names do not matter, their order does. It fails on a column
// type that has no hash.
func RowHash(b Batch) (uint64, error) {
	if bare.Hashes() {
		return 0, nil
	}
	n := int(b.NumRows())
	scratch, _ := hashScratch.Get().(*[]uint64)
	if scratch == nil {
		scratch = new([]uint64)
	}
	defer hashScratch.Put(scratch)
	if cap(*scratch) < n {
		*scratch = make([]uint64, n)
	}
	rows := (*scratch)[:n]
	for i := range rows {
		rows[i] = hashSeed
	}
	for i, c := range b.Columns() {
		if err := foldArray(rows, c); err != nil {
			return 0, fmt.Errorf("hash of column %s: %w", b.ColumnName(i), err)
		}
	}
	var sum uint64
	for _, h := range rows {
		sum += h
	}
	return sum, nil
}

var hashScratch sync.Pool

// HashColumns sets dst[i] to the hash of row i over the given columns, in the
// given order; dst has a place for every row. Equal values hash alike whatever
// the array's offset and encoding: integers by their value whatever their width,
// strings and binary by their bytes, -0 as 0, every NaN as one, a dictionary as
// its values, null as itself. So the two sides of a join that hash their own
// columns send equal keys to the same partition. The low and the high bits are
// equally good.
func HashColumns(dst []uint64, b Batch, cols []int) error {
	if int64(len(dst)) != b.NumRows() {
		return fmt.Errorf("hash of %d rows into %d places", b.NumRows(), len(dst))
	}
	for i := range dst {
		dst[i] = hashSeed
	}
	for _, c := range cols {
		if err := foldArray(dst, b.Column(c)); err != nil {
			return fmt.Errorf("hash of column %s: %w", b.ColumnName(c), err)
		}
	}
	return nil
}

// foldArray folds the values of an array into the hashes of as many rows.
func foldArray(h []uint64, arr arrow.Array) error {
	if arr.Len() == 0 {
		return nil // it may have no offsets
	}
	switch a := arr.(type) {
	case *array.Null:
		for i := range h {
			h[i] = fold(h[i], hashNull)
		}
	case *array.Boolean:
		for i := range h {
			v := uint64(hashNull)
			if a.IsValid(i) {
				v = mix(hashInt)
				if a.Value(i) {
					v = mix(hashInt + 1)
				}
			}
			h[i] = fold(h[i], v)
		}
	case *array.Int8:
		foldInts(h, a, a.Int8Values())
	case *array.Int16:
		foldInts(h, a, a.Int16Values())
	case *array.Int32:
		foldInts(h, a, a.Int32Values())
	case *array.Int64:
		foldInts(h, a, a.Int64Values())
	case *array.Uint8:
		foldInts(h, a, a.Uint8Values())
	case *array.Uint16:
		foldInts(h, a, a.Uint16Values())
	case *array.Uint32:
		foldInts(h, a, a.Uint32Values())
	case *array.Uint64:
		foldInts(h, a, a.Uint64Values())
	case *array.Date32:
		foldInts(h, a, a.Date32Values())
	case *array.Date64:
		foldInts(h, a, a.Date64Values())
	case *array.Time32:
		foldInts(h, a, a.Time32Values())
	case *array.Time64:
		foldInts(h, a, a.Time64Values())
	case *array.Timestamp:
		foldInts(h, a, a.TimestampValues())
	case *array.Duration:
		foldInts(h, a, a.DurationValues())
	case *array.MonthInterval:
		foldInts(h, a, a.MonthIntervalValues())
	case *array.Float16:
		foldEach(h, a, func(i int) uint64 { return hashOfFloat(float64(a.Value(i).Float32())) })
	case *array.Float32:
		foldEach(h, a, func(i int) uint64 { return hashOfFloat(float64(a.Value(i))) })
	case *array.Float64:
		foldEach(h, a, func(i int) uint64 { return hashOfFloat(a.Value(i)) })
	case *array.String:
		foldStrings(h, a, a.ValueOffsets(), a.ValueBytes())
	case *array.Binary:
		foldStrings(h, a, a.ValueOffsets(), a.ValueBytes())
	case *array.LargeString:
		foldStrings(h, a, a.ValueOffsets(), a.ValueBytes())
	case *array.LargeBinary:
		foldStrings(h, a, a.ValueOffsets(), a.ValueBytes())
	case *array.StringView:
		foldEach(h, a, func(i int) uint64 { return xxh3.HashString(a.Value(i)) })
	case *array.BinaryView:
		foldEach(h, a, func(i int) uint64 { return xxh3.Hash(a.Value(i)) })
	case *array.FixedSizeBinary:
		foldFixed(h, a)
	case *array.Decimal32:
		foldInts(h, a, a.Values())
	case *array.Decimal64:
		foldInts(h, a, a.Values())
	case *array.Decimal128:
		var buf [16]byte
		foldEach(h, a, func(i int) uint64 {
			v := a.Value(i)
			binary.LittleEndian.PutUint64(buf[:], v.LowBits())
			binary.LittleEndian.PutUint64(buf[8:], uint64(v.HighBits()))
			return xxh3.Hash(buf[:])
		})
	case *array.Decimal256:
		var buf [32]byte
		foldEach(h, a, func(i int) uint64 {
			for w, v := range a.Value(i).Array() {
				binary.LittleEndian.PutUint64(buf[8*w:], v)
			}
			return xxh3.Hash(buf[:])
		})
	case *array.DayTimeInterval:
		var buf [8]byte
		foldEach(h, a, func(i int) uint64 {
			v := a.Value(i)
			binary.LittleEndian.PutUint32(buf[:], uint32(v.Days))
			binary.LittleEndian.PutUint32(buf[4:], uint32(v.Milliseconds))
			return xxh3.Hash(buf[:])
		})
	case *array.MonthDayNanoInterval:
		var buf [16]byte
		foldEach(h, a, func(i int) uint64 {
			v := a.Value(i)
			binary.LittleEndian.PutUint32(buf[:], uint32(v.Months))
			binary.LittleEndian.PutUint32(buf[4:], uint32(v.Days))
			binary.LittleEndian.PutUint64(buf[8:], uint64(v.Nanoseconds))
			return xxh3.Hash(buf[:])
		})
	case *array.Dictionary:
		values, err := valueHashes(a.Dictionary())
		if err != nil {
			return err
		}
		foldEach(h, a, func(i int) uint64 { return values[a.GetValueIndex(i)] })
	case *array.Struct:
		own := make([]uint64, a.Len())
		for i := range own {
			own[i] = hashStruct
		}
		for f := range a.NumField() {
			if err := foldArray(own, a.Field(f)); err != nil {
				return err
			}
		}
		foldEach(h, a, func(i int) uint64 { return own[i] })
	case array.ListLike: // lists of all kinds, maps
		values, err := valueHashes(a.ListValues())
		if err != nil {
			return err
		}
		foldEach(h, a, func(i int) uint64 {
			from, to := a.ValueOffsets(i)
			own := uint64(hashList) + uint64(to-from)
			for _, v := range values[from:to] {
				own = fold(own, v)
			}
			return own
		})
	case array.ExtensionArray:
		return foldArray(h, a.Storage())
	default:
		return fmt.Errorf("values of type %s have no hash", arr.DataType())
	}
	return nil
}

// valueHashes are the values' own hashes, not yet folded into a row: a value in a
// dictionary hashes as if it stood in the column itself. Folding is undone, which
// works because the seed is known, mix is a bijection and the sum has an inverse.
func valueHashes(arr arrow.Array) ([]uint64, error) {
	h := make([]uint64, arr.Len())
	for i := range h {
		h[i] = hashSeed
	}
	if err := foldArray(h, arr); err != nil {
		return nil, err
	}
	base := fold0(hashSeed)
	for i := range h {
		h[i] = unmix(h[i]) - base
	}
	return h, nil
}

// unmix is the inverse of mix.
func unmix(x uint64) uint64 {
	x = (x ^ x>>33) * 0x9cb4b2f8129337db
	x = (x ^ x>>33) * 0x4f74430c22a54005
	return x ^ x>>33
}

func foldInts[T ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](h []uint64, a arrow.Array, values []T) {
	if a.NullN() == 0 {
		for i, v := range values[:len(h)] {
			h[i] = fold(h[i], mix(uint64(int64(v))+hashInt))
		}
		return
	}
	for i, v := range values[:len(h)] {
		x := uint64(hashNull)
		if a.IsValid(i) {
			x = mix(uint64(int64(v)) + hashInt)
		}
		h[i] = fold(h[i], x)
	}
}

func foldStrings[O int32 | int64](h []uint64, a arrow.Array, offsets []O, data []byte) {
	if len(h) == 0 {
		return
	}
	first := offsets[0] // ValueBytes begins with the first value
	ends := offsets[1 : len(h)+1]
	if a.NullN() == 0 {
		if width, ok := oneLength(first, ends); ok {
			foldRun(h, data, width)
			return
		}
		at := O(0)
		for i, end := range ends {
			end -= first
			h[i] = fold(h[i], xxh3.Hash(data[at:end]))
			at = end
		}
		return
	}
	at := O(0)
	for i, end := range ends {
		end -= first
		x := uint64(hashNull)
		if a.IsValid(i) {
			x = xxh3.Hash(data[at:end])
		}
		h[i] = fold(h[i], x)
		at = end
	}
}

func foldFixed(h []uint64, a *array.FixedSizeBinary) {
	if a.NullN() > 0 {
		foldEach(h, a, func(i int) uint64 { return xxh3.Hash(a.Value(i)) })
		return
	}
	width := a.DataType().(*arrow.FixedSizeBinaryType).ByteWidth
	data := a.Data().Buffers()[1].Bytes()[a.Data().Offset()*width:]
	foldRun(h, data, width)
}

func foldEach(h []uint64, a arrow.Array, hash func(i int) uint64) {
	for i := range h {
		x := uint64(hashNull)
		if a.IsValid(i) {
			x = hash(i)
		}
		h[i] = fold(h[i], x)
	}
}

// hashNaN stands for every NaN.
var hashNaN uint64 = 0x7ff8000000000000

func hashOfFloat(f float64) uint64 {
	switch {
	case f == 0:
		f = 0 // -0 too
	case f != f:
		return mix(hashNaN + hashFloat)
	}
	return mix(math.Float64bits(f) + hashFloat)
}
