package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// words is a dictionary of text: text i lies in data from ends[i] to ends[i+1]. Behind the
// last there are wordSlack bytes more.
type words struct {
	ends    []int32
	data    []byte
	longest int32
	letters bool // all are of one byte
}

// wordSlack is how much is copied of a short text, whatever its length.
const wordSlack = 16

// parse takes the dictionary's page: each text behind its length.
func (w *words) parse(data []byte, n int) error {
	if n > len(data)/4 {
		return fmt.Errorf("a dictionary claims %d values in %d bytes", n, len(data))
	}
	w.ends, w.data, w.longest = make([]int32, 1, n+1), make([]byte, 0, len(data)+wordSlack), 0
	w.letters = true
	for range n {
		if len(data) < 4 {
			return errWords
		}
		size := binary.LittleEndian.Uint32(data)
		if data = data[4:]; uint64(size) > uint64(len(data)) {
			return errWords
		}
		w.data = append(w.data, data[:size]...)
		data = data[size:]
		w.ends = append(w.ends, int32(len(w.data)))
		w.longest = max(w.longest, int32(size))
		w.letters = w.letters && size == 1
	}
	w.data = append(w.data, make([]byte, wordSlack)...)
	return nil
}

var errWords = errors.New("a dictionary's text ends before its time")

func (w *words) size() int { return max(0, len(w.ends)-1) }

// array is the texts as an array of the type.
func (w *words) array(t arrow.DataType) arrow.Array {
	ends, text := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(w.ends)), memory.NewBufferBytes(w.data)
	d := array.NewData(t, w.size(), []*memory.Buffer{nil, ends, text}, nil, 0, 0)
	defer d.Release()
	return array.MakeFromData(d)
}

// spell writes texts out one after the other: where each ends, and all of them. A null is
// an empty one.
func (w *words) spell(mem memory.Allocator, codes []uint32) (ends, text *memory.Buffer, err error) {
	ends = dataflow.NewBuffer(mem, 4*(len(codes)+1))
	to := arrow.Int32Traits.CastFromBytes(ends.Bytes())
	to[0] = 0
	if w.letters {
		if text := w.spellLetters(mem, to, codes); text != nil {
			return ends, text, nil
		}
	}
	size, at, n := int64(0), w.ends, uint(w.size())
	for i, c := range codes {
		if uint(c) >= n {
			if c != nullCode {
				ends.Release()
				return nil, nil, outside(c, int(n))
			}
		} else if size += int64(at[c+1] - at[c]); size > math.MaxInt32 {
			ends.Release()
			return nil, nil, errors.New("a column of more than 2 GiB of text")
		}
		to[i+1] = int32(size)
	}
	text = dataflow.NewBuffer(mem, int(size)+wordSlack)
	dst := text.Bytes()
	if w.longest <= wordSlack {
		w.copyShort(dst, to, codes)
	} else {
		for i, c := range codes {
			if to[i+1] > to[i] {
				copy(dst[to[i]:to[i+1]], w.data[at[c]:at[c+1]])
			}
		}
	}
	text.ResizeNoShrink(int(size))
	return ends, text, nil
}

// spellLetters is spell for words of one byte; nil where a code is none of theirs.
func (w *words) spellLetters(mem memory.Allocator, to []int32, codes []uint32) *memory.Buffer {
	text := dataflow.NewBuffer(mem, len(codes))
	dst, letters, to := text.Bytes()[:len(codes)], w.data[:w.size()], to[1:len(codes)+1]
	for i, c := range codes {
		if uint(c) >= uint(len(letters)) {
			text.Release()
			return nil
		}
		dst[i], to[i] = letters[c], int32(i+1)
	}
	return text
}

// copyShort copies as many bytes for each text whatever its length: what is too much is
// written over by the next.
func (w *words) copyShort(dst []byte, to []int32, codes []uint32) {
	for i, c := range codes {
		if to[i+1] == to[i] {
			continue
		}
		from, out := w.data[w.ends[c]:], dst[to[i]:]
		lo, hi := binary.LittleEndian.Uint64(from), binary.LittleEndian.Uint64(from[8:])
		binary.LittleEndian.PutUint64(out, lo)
		binary.LittleEndian.PutUint64(out[8:], hi)
	}
}
