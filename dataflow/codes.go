package dataflow

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A reader that found text in coded form, as numbers of the words of a dictionary, can
// say so with the text. What then works with whole words, grouping above all, looks at
// each word once and at the numbers of rows. It is a hint: the text is there as always, and
// what makes a new array of it loses the codes.

// CodedText makes an array of n texts, as ends and text spell them, which knows their
// codes: numbers of 32 bits into words, a null's the number behind the last word. It takes
// its own references.
func CodedText(t arrow.DataType, n, nulls int, valid, ends, text, codes *memory.Buffer, words arrow.Array) arrow.Array {
	coded := array.NewDataWithDictionary(codedType, n, []*memory.Buffer{nil, codes}, 0, 0, words.Data().(*array.Data))
	defer coded.Release()
	d := array.NewDataWithDictionary(t, n, []*memory.Buffer{valid, ends, text}, nulls, 0, coded)
	defer d.Release()
	return array.MakeFromData(d)
}

var codedType = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint32, ValueType: arrow.BinaryTypes.String}

// CodesOf is the codes of an array's texts and the words that they stand for, which is the
// same pointer for arrays with the same words; false where they are not known.
func CodesOf(a arrow.Array) (codes []uint32, words *array.Data, ok bool) {
	d := a.Data()
	if id := d.DataType().ID(); id != arrow.STRING && id != arrow.BINARY {
		return nil, nil, false
	}
	coded, _ := d.Dictionary().(*array.Data) // a missing one is a nil pointer
	if coded == nil {
		return nil, nil, false
	}
	all := arrow.Uint32Traits.CastFromBytes(coded.Buffers()[1].Bytes())
	return all[d.Offset() : d.Offset()+d.Len()], coded.Dictionary().(*array.Data), true
}
