package order

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// elements spells out the elements of lists: where they lie, as references of
// their own, and the offsets of the gathered lists. A null has none.
func elements(mem memory.Allocator, large bool, chunks []arrow.Array, refs []Ref) ([]arrow.Array, []Ref, *memory.Buffer, error) {
	width := 4
	if large {
		width = 8
	}
	elems := make([]arrow.Array, len(chunks))
	lists := make([]array.ListLike, len(chunks))
	for i, c := range chunks {
		lists[i] = c.(array.ListLike)
		elems[i] = lists[i].ListValues()
	}
	off := dataflow.NewBuffer(mem, width*(len(refs)+1))
	var inner []Ref
	put := func(i int) {
		if large {
			arrow.GetData[int64](off.Bytes())[i] = int64(len(inner))
		} else {
			arrow.GetData[int32](off.Bytes())[i] = int32(len(inner))
		}
	}
	for i, r := range refs {
		put(i)
		if r.Batch < 0 || lists[r.Batch].IsNull(int(r.Row)) {
			continue
		}
		from, to := lists[r.Batch].ValueOffsets(int(r.Row))
		for j := from; j < to; j++ {
			inner = append(inner, Ref{r.Batch, int32(j)})
		}
		if len(inner) > math.MaxInt32 {
			off.Release()
			return nil, nil, nil, tooMuch(i + 1)
		}
	}
	put(len(refs))
	return elems, inner, off, nil
}

func fixedElements(chunks []arrow.Array, refs []Ref, n int64) ([]arrow.Array, []Ref) {
	elems := make([]arrow.Array, len(chunks))
	lists := make([]array.ListLike, len(chunks))
	for i, c := range chunks {
		lists[i] = c.(array.ListLike)
		elems[i] = lists[i].ListValues()
	}
	inner := make([]Ref, 0, int64(len(refs))*n)
	for _, r := range refs {
		if r.Batch < 0 {
			for range n {
				inner = append(inner, NullRef)
			}
			continue
		}
		from, to := lists[r.Batch].ValueOffsets(int(r.Row))
		for j := from; j < to; j++ {
			inner = append(inner, Ref{r.Batch, int32(j)})
		}
	}
	return elems, inner
}

// takeDictionary gathers indices. Where the chunks do not share one dictionary,
// theirs are made into one first. It takes over valid.
func takeDictionary(mem memory.Allocator, t *arrow.DictionaryType, chunks []arrow.Array, refs []Ref, valid *memory.Buffer, nulls int) (*array.Data, error) {
	width := t.IndexType.(arrow.FixedWidthDataType).BitWidth() / 8
	dict, maps, err := oneDictionary(mem, t, chunks)
	if err != nil {
		return nil, err
	}
	defer dict.Release()
	var indices *memory.Buffer
	if maps == nil {
		indices = takeFixed(mem, width, chunks, refs)
	} else {
		indices = dataflow.NewBuffer(mem, width*len(refs))
		dicts := make([]*array.Dictionary, len(chunks))
		for i, c := range chunks {
			dicts[i] = c.(*array.Dictionary)
		}
		to := indices.Bytes()
		for i, r := range refs {
			var v int32
			if r.Batch >= 0 && dicts[r.Batch].IsValid(int(r.Row)) {
				v = maps[r.Batch][dicts[r.Batch].GetValueIndex(int(r.Row))]
			}
			switch width {
			case 1:
				to[i] = byte(v)
			case 2:
				arrow.GetData[int16](to)[i] = int16(v)
			case 4:
				arrow.GetData[int32](to)[i] = v
			case 8:
				arrow.GetData[int64](to)[i] = int64(v)
			}
		}
	}
	d := array.NewDataWithDictionary(t, len(refs), []*memory.Buffer{valid, indices}, nulls, 0, dict.Data().(*array.Data))
	indices.Release()
	if valid != nil {
		valid.Release()
	}
	return d, nil
}

// oneDictionary is the dictionary that all chunks share, or one made of theirs and
// where each one's values lie in it. The caller releases it.
func oneDictionary(mem memory.Allocator, t *arrow.DictionaryType, chunks []arrow.Array) (arrow.Array, [][]int32, error) {
	if len(chunks) == 0 {
		return array.MakeArrayOfNull(mem, t.ValueType, 0), nil, nil
	}
	first := chunks[0].(*array.Dictionary).Dictionary()
	same := true
	for _, c := range chunks[1:] {
		d := c.(*array.Dictionary).Dictionary()
		same = same && (d.Data() == first.Data() || array.Equal(d, first))
	}
	if same {
		first.Retain()
		return first, nil, nil
	}
	u, err := array.NewDictionaryUnifier(mem, t.ValueType)
	if err != nil {
		return nil, nil, err
	}
	defer u.Release()
	maps := make([][]int32, len(chunks))
	for i, c := range chunks {
		b, err := u.UnifyAndTranspose(c.(*array.Dictionary).Dictionary())
		if err != nil {
			return nil, nil, err
		}
		maps[i] = append([]int32(nil), arrow.GetData[int32](b.Bytes())...)
		b.Release()
	}
	dict, err := u.GetResultWithIndexType(t.IndexType)
	return dict, maps, err
}
