package parquet

import (
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// mayHold says whether a row group may have rows of interest, by the smallest and
// the largest value that its writer noted for each column.
func (s *stream) mayHold(rg *metadata.RowGroupMetaData) bool {
	if s.where.IsZero() {
		return true
	}
	return expr.Prune(s.openFile.schema, s.where, func(column string) (expr.Range, bool) {
		at := s.openFile.schema.FieldIndices(column)
		if len(at) != 1 {
			return expr.Range{}, false
		}
		leaf := s.arrow.Manifest.Fields[at[0]].ColIndex
		if leaf < 0 {
			return expr.Range{}, false
		}
		chunk, err := rg.ColumnChunk(leaf)
		if err != nil {
			return expr.Range{}, false
		}
		if ok, err := chunk.StatsSet(); !ok || err != nil {
			return expr.Range{}, false
		}
		stats, err := chunk.Statistics()
		if err != nil || stats == nil {
			return expr.Range{}, false
		}
		return rangeOf(stats, s.openFile.schema.Field(at[0]).Type)
	})
}

// rangeOf reads statistics of the types whose order is the same there and here.
// Floats are not among them: a NaN is in no statistics.
func rangeOf(stats metadata.TypedStatistics, t arrow.DataType) (r expr.Range, ok bool) {
	if !stats.HasMinMax() {
		return r, false
	}
	var lo, hi expr.Expr
	switch stats := stats.(type) {
	case *metadata.Int32Statistics:
		lo, hi = number(int64(stats.Min()), t), number(int64(stats.Max()), t)
	case *metadata.Int64Statistics:
		lo, hi = number(stats.Min(), t), number(stats.Max(), t)
	case *metadata.FixedLenByteArrayStatistics:
		lo, hi = longNumber(stats.Min(), t), longNumber(stats.Max(), t)
	case *metadata.ByteArrayStatistics:
		if t.ID() == arrow.STRING {
			lo, hi = expr.Lit(string(stats.Min())), expr.Lit(string(stats.Max()))
		}
	}
	if lo.IsZero() || hi.IsZero() {
		return r, false
	}
	if r.Min, ok = value(lo); !ok {
		return r, false
	}
	r.Max, ok = value(hi)
	return r, ok
}

func value(e expr.Expr) (expr.Value, bool) {
	v, err := expr.ValueOf(e)
	return v, err == nil
}

// longNumber is a decimal of big-endian bytes.
func longNumber(raw []byte, t arrow.DataType) expr.Expr {
	d, ok := t.(*arrow.Decimal128Type)
	if !ok || len(raw) == 0 || len(raw) > 16 {
		return expr.Expr{}
	}
	v := new(big.Int).SetBytes(raw)
	if raw[0] >= 0x80 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	return expr.Dec(decimal128.FromBigInt(v).ToString(d.Scale))
}

// number is a stored number as a value of a column's type; none for types that
// store something else.
func number(v int64, t arrow.DataType) expr.Expr {
	switch t := t.(type) {
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		return expr.Lit(v)
	case *arrow.Date32Type:
		return expr.Lit(arrow.Date32(v))
	case *arrow.Decimal128Type:
		return expr.Dec(decimal128.FromI64(v).ToString(t.Scale))
	}
	return expr.Expr{}
}
