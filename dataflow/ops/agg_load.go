package ops

import (
	"math"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

const (
	hashA = 0x9e3779b97f4a7c15
	hashB = 0xd6e8feb86659fd93
)

func hashWord(w uint64) uint64 {
	hi, lo := bits.Mul64(w^hashA, hashB)
	return (hi ^ lo) * hashA
}

func hashWords(key []uint64) uint64 {
	if len(key) == 1 {
		return hashWord(key[0])
	}
	h := uint64(hashB)
	for _, w := range key {
		hi, lo := bits.Mul64(w^h, hashA)
		h = hi ^ lo ^ w*hashB
	}
	return h * hashA
}

// load brings the keys of a batch into words, and hashes them.
func (g *groupTable) load(keys []arrow.Array, n int) {
	for _, a := range keys {
		if g.nulls < 0 && a.NullN() > 0 {
			g.widen()
		}
	}
	if need := n * g.width; cap(g.words) < need {
		g.words = make([]uint64, need)
	}
	g.words = g.words[:n*g.width]
	if g.nulls >= 0 {
		for i := range n {
			g.words[i*g.width+g.nulls] = 0
		}
	}
	for c, a := range keys {
		g.loadColumn(c, a, n)
	}
	if cap(g.hashes) < n {
		g.hashes = make([]uint64, n)
	}
	g.hashes = g.hashes[:n]
	switch w := g.width; {
	case w == 1:
		for i, x := range g.words {
			g.hashes[i] = hashWord(x)
		}
	case w == 2 && g.nulls < 0:
		for i := range g.hashes {
			g.hashes[i] = hashWords(g.words[2*i : 2*i+2])
		}
	default:
		for i := range g.hashes {
			g.hashes[i] = g.hashKey(g.words[i*w : (i+1)*w])
		}
	}
}

// widen adds the word of null bits to keys, which the first null makes necessary. Where
// there are no nulls the hash of a key is what it was, so that slots stay as they are.
func (g *groupTable) widen() {
	w := g.width
	keys := make([]uint64, 0, max(g.n, g.cap)*(w+1))
	for i := range g.n {
		keys = append(append(keys, g.keys[i*w:(i+1)*w]...), 0)
	}
	g.keys, g.nulls, g.width = keys, w, w+1
}

// hashKey is the hash of a key, with or without a word of null bits.
func (g *groupTable) hashKey(key []uint64) uint64 {
	if g.nulls < 0 {
		return hashWords(key)
	}
	h := hashWords(key[:g.nulls])
	if null := key[g.nulls]; null != 0 {
		return hashWord(h ^ null)
	}
	return h
}

func (g *groupTable) loadColumn(c int, a arrow.Array, n int) {
	col, d, w := g.cols[c], a.Data(), g.width
	dst := g.words[col.word:]
	switch t := a.DataType(); t.ID() {
	case arrow.BOOL:
		v := a.(*array.Boolean)
		for i := range n {
			dst[i*w] = 0
			if v.Value(i) {
				dst[i*w] = 1
			}
		}
	case arrow.FLOAT32:
		for i, x := range arrow.GetValues[float32](d, 1) {
			dst[i*w] = floatWord(float64(x))
		}
	case arrow.FLOAT64:
		for i, x := range arrow.GetValues[float64](d, 1) {
			dst[i*w] = floatWord(x)
		}
	case arrow.DECIMAL128:
		for i, x := range arrow.GetValues[decimal128.Num](d, 1) {
			dst[i*w], dst[i*w+1] = x.LowBits(), uint64(x.HighBits())
		}
	case arrow.STRING, arrow.BINARY:
		g.loadText(col, a, n)
	default:
		raw := d.Buffers()[1].Bytes()
		switch off := d.Offset(); t.(arrow.FixedWidthDataType).BitWidth() {
		case 8:
			putWords(dst, w, arrow.Int8Traits.CastFromBytes(raw)[off:off+n])
		case 16:
			putWords(dst, w, arrow.Int16Traits.CastFromBytes(raw)[off:off+n])
		case 32:
			putWords(dst, w, arrow.Int32Traits.CastFromBytes(raw)[off:off+n])
		default:
			putWords(dst, w, arrow.Int64Traits.CastFromBytes(raw)[off:off+n])
		}
	}
	if a.NullN() == 0 {
		return
	}
	size, _ := keyWords(col.field.Type)
	for i := range n {
		if a.IsNull(i) {
			clear(dst[i*w : i*w+size])
			g.words[i*w+g.nulls] |= 1 << c
		}
	}
}

func putWords[T int8 | int16 | int32 | int64](dst []uint64, w int, src []T) {
	if w == 1 {
		dst = dst[:len(src)]
		for i, x := range src {
			dst[i] = uint64(x)
		}
		return
	}
	for i, x := range src {
		dst[i*w] = uint64(x)
	}
}

// floatWord makes equal numbers, and all NaNs, one word.
func floatWord(x float64) uint64 {
	switch {
	case x == 0:
		return 0
	case x != x:
		return math.Float64bits(math.NaN())
	}
	return math.Float64bits(x)
}
