package ops

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// Sieve implements dataflow.Siever: rows of the probe side are left out, but where that
// would leave a row of the other side without its partner. It is passed on when the probe
// side is about to be read, for who that is may not be known yet.
func (s *joinStream) Sieve(v dataflow.Sieve) {
	if !s.buildUnmatched {
		s.sieves = append(s.sieves, v)
	}
}

// putSieves tells the probe side what is known of its rows: by the rows that are built,
// and by who reads the join.
func (s *joinStream) putSieves(probe dataflow.Stream) {
	schema := s.schemas[s.probe]
	if schema == nil {
		return
	}
	for _, v := range s.sieves {
		if s.fromProbe(v.Columns) {
			dataflow.PutSieve(probe, v)
		}
	}
	if s.probeUnmatched {
		return
	}
	f := s.finder
	p := &partnered{bloom: bloom{words: f.filter.words, shift: f.filter.shift}}
	var names []string
	var fields []arrow.Field
	for i, c := range s.keysOf(s.probe) {
		f := schema.Field(c)
		if len(schema.FieldIndices(f.Name)) != 1 {
			return
		}
		names, fields, p.cols = append(names, f.Name), append(fields, f), append(p.cols, i)
	}
	p.schema = arrow.NewSchema(fields, nil)
	pass := p.pass
	switch {
	case f.schema == nil:
		pass = passNone
	case f.set != nil:
		pass = f.set.reader().pass
	}
	dataflow.PutSieve(probe, dataflow.Sieve{Columns: names, Pass: pass})
}

// fromProbe reports whether columns that come out are columns of the probe side, of the
// same names.
func (s *joinStream) fromProbe(names []string) bool {
	other := s.schemas[s.build]
	if other == nil {
		return false
	}
	schema := s.schemas[s.probe]
	out := s.schemaOf(s.schemas[left], s.schemas[right])
	for _, n := range names {
		at := schema.FieldIndices(n)
		if len(at) != 1 || len(out.FieldIndices(n)) != 1 || !slices.Contains(s.columnsOf(s.probe, schema), at[0]) {
			return false
		}
		if !s.pairs && s.probe != left || s.pairs && slices.ContainsFunc(other.FieldIndices(n), func(c int) bool { return slices.Contains(s.columnsOf(s.build, other), c) }) {
			return false
		}
	}
	return true
}

// partnered is a sieve for rows whose keys are built.
type partnered struct {
	bloom  bloom
	schema *arrow.Schema // of the keys
	cols   []int         // 0, 1, ...
	hashes []uint64
	rows   []int32
}

func (p *partnered) pass(keys []arrow.Array) (rows []int32, all bool, err error) {
	n := keys[0].Len()
	if p.bloom.aside() {
		return nil, true, nil
	}
	b := array.NewRecordBatch(p.schema, keys, int64(n))
	defer b.Release()
	if p.hashes, err = hashInto(p.hashes, b, p.cols); err != nil {
		return nil, false, err
	}
	if cap(p.rows) < n {
		p.rows = make([]int32, n)
	}
	rows = p.bloom.pass(p.rows[:n], p.hashes)
	return rows, len(rows) == n, nil
}

// Sieve implements dataflow.Siever, for columns that are the input's.
func (s *selectStream) Sieve(v dataflow.Sieve) {
	if len(s.Columns) > 0 {
		v.Columns = slices.Clone(v.Columns)
		for i, name := range v.Columns {
			var ok bool
			if v.Columns[i], ok = s.columnOf(name); !ok {
				return
			}
		}
	}
	dataflow.PutSieve(s.in, v)
}

// columnOf is the input's column that the one column called so is.
func (s *selectStream) columnOf(name string) (from string, ok bool) {
	for _, c := range s.Columns {
		if c.Name != name {
			continue
		}
		if ok { // two are called so
			return "", false
		}
		if from, ok = c.Expr.Column(); !ok {
			return "", false
		}
	}
	return from, ok
}

// Sieve implements dataflow.Siever: of rows that are still to come.
func (k *keptStream) Sieve(v dataflow.Sieve) { dataflow.PutSieve(k.in, v) }
