package parquet

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func TestExpand(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	for _, words := range [][]string{{"", "a", "seven77", "sixteen bytes 16"}, {"short", "", strings.Repeat("long", 30)}} {
		wb := array.NewStringBuilder(mem)
		wb.AppendValues(words, nil)
		dictionary := wb.NewArray()
		cb := array.NewInt32Builder(mem)
		for i := range 100 {
			if i%7 == 3 {
				cb.AppendNull()
			} else {
				cb.Append(int32(i % len(words)))
			}
		}
		codes := cb.NewArray()
		typ := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
		whole := array.NewDictionaryArray(typ, codes, dictionary)
		for _, from := range []int64{0, 5, 99} {
			d := array.NewSlice(whole, from, 100).(*array.Dictionary)
			a, err := expand(mem, d)
			if err != nil {
				t.Fatal(err)
			}
			for i := range d.Len() {
				j := i + int(from)
				if null := j%7 == 3; a.IsNull(i) != null || !null && a.(*array.String).Value(i) != words[j%len(words)] {
					t.Errorf("value %d is %s", j, a.ValueStr(i))
				}
			}
			a.Release()
			d.Release()
		}
		whole.Release()
		codes.Release()
		// A number that the dictionary does not have.
		cb.Append(int32(len(words)))
		codes = cb.NewArray()
		bad := array.NewDictionaryArray(typ, codes, dictionary)
		if a, err := expand(mem, bad); err == nil {
			t.Error("a number outside the dictionary was taken")
			a.Release()
		}
		bad.Release()
		codes.Release()
		dictionary.Release()
		wb.Release()
		cb.Release()
	}
}
