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
		f.steps = append(f.steps, sift(s.schema, v))
	}
	return nil
}
