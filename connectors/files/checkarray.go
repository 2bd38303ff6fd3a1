package files

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// CheckArray looks whether an array's buffers hold what its length and offsets claim, so
// that reading its values cannot go astray. For what a decoder made of bytes from
// outside.
func CheckArray(d arrow.ArrayData) error {
	need := int64(d.Offset()) + int64(d.Len())
	if d.Len() < 0 || d.Offset() < 0 || need > 1<<31 {
		return fmt.Errorf("it claims %d rows", d.Len())
	}
	if d.DataType().ID() == arrow.NULL {
		return nil
	}
	bits := func(i int) int64 {
		if b := d.Buffers()[i]; b != nil {
			return int64(b.Len()) * 8
		}
		return 0
	}
	if v := d.Buffers()[0]; v != nil && v.Len() > 0 && bits(0) < need {
		return fmt.Errorf("%d bits of validity for %d rows", bits(0), need)
	}
	switch t := d.DataType().(type) {
	case *arrow.StructType:
		for _, c := range d.Children() {
			if int64(c.Len()) < need {
				return fmt.Errorf("a field has %d rows of %d", c.Len(), need)
			}
			if err := CheckArray(c); err != nil {
				return err
			}
		}
		return nil
	case *arrow.DictionaryType:
		if bits(1) < need*int64(t.IndexType.(arrow.FixedWidthDataType).BitWidth()) {
			return fmt.Errorf("%d bits for %d indices", bits(1), need)
		}
		if err := CheckArray(d.Dictionary()); err != nil {
			return err
		}
		return checkIndices(d)
	case *arrow.ListType, *arrow.LargeListType, *arrow.MapType:
		if err := CheckArray(d.Children()[0]); err != nil {
			return err
		}
		return checkOffsets(d, int64(d.Children()[0].Len()))
	case *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		return checkOffsets(d, bits(2)/8)
	case arrow.FixedWidthDataType:
		if bits(1) < need*int64(t.BitWidth()) {
			return fmt.Errorf("%d bits for %d values", bits(1), need)
		}
		return nil
	}
	return fmt.Errorf("values of type %s are not read", d.DataType())
}

// checkOffsets looks whether offsets rise and stay below end.
func checkOffsets(d arrow.ArrayData, end int64) error {
	if d.Len() == 0 {
		return nil
	}
	raw := d.Buffers()[1]
	width := 4
	switch d.DataType().ID() {
	case arrow.LARGE_LIST, arrow.LARGE_STRING, arrow.LARGE_BINARY:
		width = 8
	}
	if raw == nil || raw.Len() < (d.Offset()+d.Len()+1)*width {
		return errors.New("offsets are missing")
	}
	last := int64(0)
	for i := d.Offset(); i <= d.Offset()+d.Len(); i++ {
		var o int64
		if width == 8 {
			o = int64(binary.LittleEndian.Uint64(raw.Bytes()[8*i:]))
		} else {
			o = int64(int32(binary.LittleEndian.Uint32(raw.Bytes()[4*i:])))
		}
		if o < last || o > end {
			return fmt.Errorf("offset %d follows %d, the end is %d", o, last, end)
		}
		last = o
	}
	return nil
}

func checkIndices(d arrow.ArrayData) error {
	a := array.NewDictionaryData(d)
	defer a.Release()
	for i := range a.Len() {
		if a.IsValid(i) {
			if v := a.GetValueIndex(i); v < 0 || v >= a.Dictionary().Len() {
				return fmt.Errorf("index %d into %d values", v, a.Dictionary().Len())
			}
		}
	}
	return nil
}
