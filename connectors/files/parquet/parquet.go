// Package parquet is Apache Parquet: columns in row groups. A range owns the row
// groups that begin in it, and only the columns that are asked for are read.
package parquet

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

func init() { files.Register(format{}) }

const (
	// pageBytesMax bounds a page, stored and decompressed. A header can claim any
	// size, and memory is asked for before the page is read.
	pageBytesMax = 256 << 20
	// pageValuesMax bounds the rows of a page, of which each may take some bytes.
	pageValuesMax = 64 << 20
	// footerBytesMax bounds the metadata at a file's end.
	footerBytesMax = 256 << 20
)

type format struct{}

func (format) Name() string    { return "parquet" }
func (format) Summary() string { return "Apache Parquet" }

// readOptions: there are none yet; an unknown one is refused.
type readOptions struct{}

func (format) Reader(o files.ReadOptions) (files.Reader, error) {
	r := reader{given: o.Schema, columns: o.Columns, where: o.Predicate}
	return r, files.DecodeOptions("parquet", o.Options, &readOptions{})
}

type reader struct {
	given   *arrow.Schema
	columns []string
	where   expr.Expr // of the rows of interest
}

func (reader) Splittable() bool { return true }

func (r reader) Schema(ctx context.Context, sample func() (*files.Input, error)) (*arrow.Schema, error) {
	if r.given != nil {
		return files.Project("files.parquet", r.given, r.columns)
	}
	in, err := sample()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	f, err := open(dataflow.NewEnv(ctx), in)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return files.Project("files.parquet", f.schema, r.columns)
}

// CountRows implements files.RowCounter: the footer says it.
func (reader) CountRows(ctx context.Context, in *files.Input) (int64, error) {
	f, err := open(dataflow.NewEnv(ctx), in)
	if err != nil {
		return 0, err
	}
	defer f.close()
	var n int64
	m := f.pq.MetaData()
	for g := range m.NumRowGroups() {
		n += m.RowGroup(g).NumRows()
	}
	return n, nil
}

func (r reader) Open(env *dataflow.Env, in *files.Input, schema *arrow.Schema) (dataflow.Stream, error) {
	f, err := open(env, in)
	if err != nil {
		in.Close()
		return nil, err
	}
	s := &stream{openFile: f, in: in, env: env, schema: schema, where: r.where}
	if err := s.random.Guard("parquet.Read", s.plan); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// openFile is a file whose footer is read and checked.
type openFile struct {
	random *files.RandomReader
	pq     *file.Reader
	arrow  *pqarrow.FileReader
	schema *arrow.Schema // of the whole file
}

func open(env *dataflow.Env, in *files.Input) (*openFile, error) {
	random, err := files.NewRandomReader("parquet.Read", in)
	if err != nil {
		return nil, err
	}
	f := &openFile{random: random}
	err = random.Guard("parquet.Read", func() (err error) {
		if err := checkFooter(random, in.Size); err != nil {
			return err
		}
		props := parquet.NewReaderProperties(files.Bounded(env))
		props.BufferedStreamEnabled = true // read pages, not whole column chunks
		most := files.PieceMax(env, pageBytesMax)
		props.MaxCompressedPageSize, props.MaxUncompressedPageSize = most, most
		if f.pq, err = file.NewParquetReader(random, file.WithReadProps(props)); err != nil {
			return err
		}
		if err := checkGroups(f.pq.MetaData(), in.Size); err != nil {
			return err
		}
		// Writers of Arrow put its schema there as well, in a form that the library
		// trusts: one wrong bit asks for hundreds of gigabytes. Parquet's own is enough.
		f.pq.MetaData().FileMetaData.KeyValueMetadata = nil
		var arrowProps pqarrow.ArrowReadProperties
		if f.arrow, err = pqarrow.NewFileReader(f.pq, arrowProps, files.Bounded(env)); err != nil {
			return err
		}
		s, err := f.arrow.Schema()
		if err != nil {
			return err
		}
		f.schema = files.WithoutMetadata(s)
		return nil
	})
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *openFile) close() {
	if f.pq != nil {
		f.pq.Close()
		f.pq = nil
	}
}

// checkFooter looks at the file's last bytes before the library allocates what they
// ask for.
func checkFooter(r io.ReaderAt, size int64) error {
	var tail [8]byte
	if size < 12 {
		return fmt.Errorf("%d bytes are no Parquet file", size)
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return err
	}
	if magic := string(tail[4:]); magic != "PAR1" {
		return fmt.Errorf("it ends in %q instead of %q", magic, "PAR1")
	}
	n := int64(tail[0]) | int64(tail[1])<<8 | int64(tail[2])<<16 | int64(tail[3])<<24
	if n > size-12 || n > footerBytesMax {
		return fmt.Errorf("its footer claims %d of the file's %d bytes", n, size)
	}
	return nil
}

// checkGroups refuses positions and sizes that cannot be.
func checkGroups(m *metadata.FileMetaData, size int64) error {
	for g := range m.NumRowGroups() {
		rg := m.RowGroup(g)
		if rg.NumRows() < 0 || rg.NumRows() > math.MaxInt32*int64(64) {
			return fmt.Errorf("row group %d claims %d rows", g, rg.NumRows())
		}
		for c := range rg.NumColumns() {
			col, err := rg.ColumnChunk(c)
			if err != nil {
				return err
			}
			start, n := chunkStart(col), col.TotalCompressedSize()
			if start < 0 || n < 0 || start > size || n > size-start {
				return fmt.Errorf("column %d of row group %d claims %d bytes at %d of a file of %d", c, g, n, start, size)
			}
		}
	}
	return nil
}

func chunkStart(c *metadata.ColumnChunkMetaData) int64 {
	start := c.DataPageOffset()
	if c.HasDictionaryPage() && c.DictionaryPageOffset() > 0 {
		start = min(start, c.DictionaryPageOffset())
	}
	return start
}
