package parquet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// A column of a row group gives its rows in their order.
type column interface {
	// next gives n rows, or those of them that sel names where it is not nil.
	next(n int, sel []int32) (arrow.Array, error)
	release()
}

// openColumn opens a field of the file in a row group; leaves are the file's columns
// that are read.
func (f *openFile) openColumn(mem memory.Allocator, field int, leaves map[int]bool, group int) (column, error) {
	t := f.schema.Field(field).Type
	if leaf := f.arrow.Manifest.Fields[field].ColIndex; leaf >= 0 {
		rg := f.pq.RowGroup(group)
		chunk, err := rg.MetaData().ColumnChunk(leaf)
		if err != nil {
			return nil, err
		}
		d := f.pq.MetaData().Schema.Column(leaf)
		stored, isCoded := codedColumn(d, chunk, t)
		isFlat := false
		if !isCoded {
			stored, isFlat = flatColumn(d, chunk, t)
		}
		if isCoded || isFlat {
			pages, err := rg.GetColumnPageReader(leaf)
			if err != nil {
				return nil, err
			}
			p := pager{pages: pages, stored: stored, optional: d.MaxDefinitionLevel() > 0}
			return valuesOf(flat{pager: p, typ: t, width: givenWidth(t), mem: mem}, isCoded), nil
		}
	}
	r, err := f.arrow.GetFieldReader(context.Background(), field, leaves, []int{group})
	if err != nil {
		return nil, err
	}
	return &arrowColumn{r: r, mem: mem}, nil
}

// canDecode refuses what the library gives up on in the middle of a page: values of a
// fixed length that are written as differences of their bytes.
func (s *stream) canDecode(rg *metadata.RowGroupMetaData) error {
	for leaf := range s.leaves {
		d := s.pq.MetaData().Schema.Column(leaf)
		if d.PhysicalType() != parquet.Types.FixedLenByteArray {
			continue
		}
		chunk, err := rg.ColumnChunk(leaf)
		if err != nil {
			return err
		}
		if slices.Contains(chunk.Encodings(), parquet.Encodings.DeltaByteArray) {
			return &dataflow.Error{Op: "parquet.Read", Path: s.in.Path, Kind: dataflow.User,
				Err: dataflow.Mark(fmt.Errorf("column %s: values of a fixed length are not read where they are encoded as DELTA_BYTE_ARRAY", d.Path()), errors.ErrUnsupported),
				Try: "write the file with another encoding, such as PLAIN, or with a dictionary"}
		}
	}
	return nil
}

// arrowColumn is a column of any type, as the library reads it.
type arrowColumn struct {
	r    *pqarrow.ColumnReader
	mem  memory.Allocator
	some *expr.Evaluator // of rows of it
}

func (c *arrowColumn) release() { c.r.Release() }

func (c *arrowColumn) next(n int, sel []int32) (arrow.Array, error) {
	all, err := c.rows(n)
	if err != nil || sel == nil {
		return all, err
	}
	defer all.Release()
	schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: all.DataType(), Nullable: true}}, nil)
	if c.some == nil {
		b, err := expr.Bind(schema, expr.Col("c"))
		if err != nil {
			return nil, err
		}
		c.some = b.Evaluator(c.mem)
	}
	b := array.NewRecordBatch(schema, []arrow.Array{all}, int64(n))
	defer b.Release()
	out, err := c.some.Eval(b, sel)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (c *arrowColumn) rows(n int) (arrow.Array, error) {
	chunked, err := c.r.NextBatch(int64(n))
	if err != nil {
		return nil, err
	}
	defer chunked.Release()
	if chunked.Len() != n {
		return nil, fmt.Errorf("%d values instead of %d", chunked.Len(), n)
	}
	var out arrow.Array
	if chunks := chunked.Chunks(); len(chunks) == 1 {
		out = chunks[0]
		out.Retain()
	} else if out, err = array.Concatenate(chunks, c.mem); err != nil {
		return nil, err
	}
	if err := files.CheckArray(out.Data()); err != nil {
		out.Release()
		return nil, err
	}
	return out, nil
}

// valuesOf reads the pages of a flat column.
func valuesOf(f flat, allCoded bool) column {
	if !allCoded {
		f.dictionary = f.setDictionary
		return &f
	}
	c := &coded{flat: f}
	if c.dictionary = c.setDictionary; c.width == 0 {
		c.dictionary = c.setWords
	}
	return c
}

// givenWidth is the bytes of a value of a type, 0 for text.
func givenWidth(t arrow.DataType) int {
	if f, ok := t.(arrow.FixedWidthDataType); ok {
		return f.BitWidth() / 8
	}
	return 0
}
