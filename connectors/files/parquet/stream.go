package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// stream reads the row groups of a range, each column in the calling goroutine.
type stream struct {
	*openFile
	in     *files.Input
	env    *dataflow.Env
	schema *arrow.Schema
	where  expr.Expr    // rows that do not fulfil it may be left out
	fields []int        // of the file, in the schema's order
	leaves map[int]bool // the file's columns below them

	groups  []group
	group   group // being read
	readers []column
	filter  filter
	left    int64   // rows of group
	per     int64   // rows a batch
	first   int64   // row of the file that the last batch began with
	picked  []int32 // which rows from there on it has; nil: all
	err     error
	closed  bool

	mu          sync.Mutex // guards groups, and what Progress shows
	total, done int64
	bytes       int64
}

// group is a row group that belongs to the range.
type group struct {
	index    int
	firstRow int64 // in the file
	at       int64 // where it begins: the range that this lies in has it
	rows     int64
	bytes    int64
}

// plan finds the columns and the row groups of the range.
func (s *stream) plan() (err error) {
	if s.fields, err = files.Places("parquet.Read", s.in.Path, s.openFile.schema, s.schema); err != nil {
		return err
	}
	s.leaves = map[int]bool{}
	for _, f := range s.fields {
		if f < 0 {
			continue
		}
		markLeaves(&s.arrow.Manifest.Fields[f], s.leaves)
	}
	s.filter.where, s.filter.mem = s.where, s.env.Alloc
	m := s.pq.MetaData()
	var row int64
	for g := range m.NumRowGroups() {
		rg := m.RowGroup(g)
		at, err := groupStart(rg)
		if err != nil {
			return err
		}
		at = min(at, s.in.Size-1)
		if at >= s.in.Offset && at < s.in.End() && rg.NumRows() > 0 {
			if !s.mayHold(rg) {
				s.env.Counters.Get("parquet.row_groups_skipped").Inc()
				row += rg.NumRows()
				continue
			}
			if err := s.canDecode(rg); err != nil {
				return err
			}
			s.groups = append(s.groups, group{g, row, at, rg.NumRows(), max(0, rg.TotalByteSize())})
			s.total += rg.NumRows()
		}
		row += rg.NumRows()
	}
	return nil
}

func groupStart(rg *metadata.RowGroupMetaData) (int64, error) {
	if rg.NumColumns() == 0 {
		return 0, errors.New("a row group has no columns")
	}
	c, err := rg.ColumnChunk(0)
	if err != nil {
		return 0, err
	}
	return chunkStart(c), nil
}

func markLeaves(f *pqarrow.SchemaField, leaves map[int]bool) {
	if f.ColIndex >= 0 {
		leaves[f.ColIndex] = true
	}
	for i := range f.Children {
		markLeaves(&f.Children[i], leaves)
	}
}

// Next implements dataflow.Stream.
func (s *stream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.err != nil {
		return nil, s.err
	}
	var b dataflow.Batch
	s.err = s.random.Guard("parquet.Read", func() (err error) {
		if err := ctx.Err(); err != nil {
			return &dataflow.Error{Op: "parquet.Read", Path: s.in.Path, Kind: dataflow.Canceled, Err: err}
		}
		for b == nil && err == nil {
			if s.left == 0 {
				if err := s.begin(); err != nil {
					return err
				}
			}
			b, err = s.batch()
		}
		return err
	})
	return b, s.err
}

// begin opens the columns of the next row group.
func (s *stream) begin() error {
	s.drop()
	s.mu.Lock()
	if len(s.groups) == 0 {
		s.mu.Unlock()
		return io.EOF
	}
	s.group = s.groups[0]
	s.groups = s.groups[1:]
	s.mu.Unlock()
	s.left = s.group.rows
	s.per = int64(max(1, s.env.BatchRows))
	if width := s.group.bytes / s.group.rows; width > 0 {
		s.per = max(1, min(s.per, int64(s.env.BatchBytes)/width))
	}
	for _, f := range s.fields {
		if f < 0 { // the file lacks it
			s.readers = append(s.readers, nil)
			continue
		}
		r, err := s.openColumn(files.Bounded(s.env), f, s.leaves, s.group.index)
		if err != nil {
			return err
		}
		s.readers = append(s.readers, r)
	}
	return s.filter.begin(s)
}

// batch reads the next rows of the group; nil where none of them is of interest.
func (s *stream) batch() (dataflow.Batch, error) {
	n := int(min(s.per, s.left))
	s.first = s.group.firstRow + s.group.rows - s.left
	cols := make([]arrow.Array, len(s.readers))
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	sel, err := s.filter.read(s, cols, n)
	if err != nil {
		return nil, err
	}
	rows := n
	if sel != nil {
		rows = len(sel)
	}
	for i, c := range cols {
		if c == nil {
			if cols[i], err = s.column(i, n, sel); err != nil {
				return nil, err
			}
		}
	}
	s.picked = sel
	s.left -= int64(n)
	s.mu.Lock()
	s.done += int64(n)
	s.bytes += s.group.bytes * int64(n) / s.group.rows
	s.mu.Unlock()
	if rows == 0 {
		return nil, nil
	}
	return array.NewRecordBatch(s.schema, cols, int64(rows)), nil
}

// column reads the next n rows of a column, or those of them that sel names.
func (s *stream) column(i, n int, sel []int32) (arrow.Array, error) {
	r, field := s.readers[i], s.schema.Field(i)
	if r == nil { // the file lacks it
		if sel != nil {
			n = len(sel)
		}
		return array.MakeArrayOfNull(s.env.Alloc, field.Type, n), nil
	}
	c, err := r.next(n, sel)
	if err != nil {
		return nil, fmt.Errorf("column %s, row group %d: %w", field.Name, s.group.index, err)
	}
	defer c.Release()
	typed, err := files.Retype(c, field)
	if err != nil {
		return nil, fmt.Errorf("row group %d: %w", s.group.index, err)
	}
	return typed, nil
}

func (s *stream) drop() {
	for _, r := range s.readers {
		if r != nil {
			r.release()
		}
	}
	s.readers = nil
}

// Locate implements dataflow.Locator: by row, for a record has no place of its own.
func (s *stream) Locate(row int) string {
	if s.picked != nil {
		row = int(s.picked[row])
	}
	return fmt.Sprintf("%s:row %d", s.in.Path, s.first+int64(row))
}

// Progress implements dataflow.Progresser.
func (s *stream) Progress() dataflow.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := dataflow.Progress{Rows: s.done, Bytes: s.bytes, Fraction: 1}
	if s.total > 0 {
		p.Fraction = float64(s.done) / float64(s.total)
	}
	return p
}

// Shrink implements files.Shrinker: the last row groups that are not begun are given
// away. A file whose row groups do not lie in their order keeps them all.
func (s *stream) Shrink(keep float64) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(int(float64(len(s.groups))*min(1, max(0, keep))+0.5), len(s.groups)-1)
	if n < 0 || n == 0 && s.group.rows == 0 { // who has begun nothing keeps a group
		if n = 1; len(s.groups) < 2 {
			return 0, false
		}
	}
	end := s.groups[n].at
	last := s.group.at
	for _, g := range s.groups {
		if g.at <= last && s.group.rows > 0 {
			return 0, false
		}
		last = g.at
	}
	if end <= s.in.Offset {
		return 0, false
	}
	for _, g := range s.groups[n:] {
		s.total -= g.rows
	}
	s.groups = s.groups[:n:n]
	return end, true
}

// Close implements dataflow.Stream.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.err == nil {
		s.err = errClosed
	}
	s.drop()
	s.close()
	return s.in.Close()
}

var errClosed = errors.New("stream is closed")
