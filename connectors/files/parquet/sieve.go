package parquet

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

// Sieve implements dataflow.Siever, from the next row group on.
func (s *stream) Sieve(v dataflow.Sieve) {
	for _, name := range v.Columns {
		if len(s.schema.FieldIndices(name)) != 1 {
			return
		}
	}
	s.filter.sieves = append(s.filter.sieves, v)
}

// A sift is a sieve that is asked row by row.
type sift struct {
	cols []int // of the stream's schema
	dataflow.Sieve
}

// beginSieves asks the sieves on one column of codes about its dictionary, and keeps the
// others for the rows.
func (f *filter) beginSieves(s *stream) error {
	for _, v := range f.sieves {
		if len(v.Columns) == 1 {
			c, values, err := s.dictionary(v.Columns[0])
			if err != nil {
				return err
			}
			if c != nil {
				n := values.Len()
				codes, all, err := v.Pass([]arrow.Array{values})
				values.Release()
				if err == nil && !all {
					f.tests = append(f.tests, testOf(c, n, codes))
				}
				continue
			}
		}
		to := sift{Sieve: v}
		for _, name := range v.Columns {
			to.cols = append(to.cols, s.schema.FieldIndices(name)[0])
		}
		f.sifts = append(f.sifts, to)
	}
	return nil
}

// sift is readRest for a sieve.
func (f *filter) sift(s *stream, cols []arrow.Array, n int, sel []int32, v sift) (_ []int32, err error) {
	m := n
	if sel != nil {
		m = len(sel)
	}
	read := make([]arrow.Array, len(v.cols))
	for i, c := range v.cols {
		if cols[c] == nil {
			if cols[c], err = s.column(c, n, sel); err != nil {
				return nil, err
			}
		}
		read[i] = cols[c]
	}
	some, all, err := v.Pass(read)
	if err != nil || all || len(some) > m-m/4 {
		return sel, nil
	}
	return f.narrow(cols, sel, some)
}
