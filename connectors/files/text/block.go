package text

import (
	"bytes"
	"sort"
	"sync"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

// lines is a batch of the lines of a block: the text as it lies in the file until
// somebody asks for the column. Then the block's own buffer becomes the column's data:
// lines move together over the line ends between them, so each byte is moved once and
// nothing is allocated per line.
type lines struct {
	env    *dataflow.Env
	offset int64 // of the block in the file
	rows   int

	mu      sync.Mutex
	refs    int
	text    *memory.Buffer    // owned; nil once the column was made
	made    arrow.RecordBatch // owned; nil before that
	offsets []int32           // of the lines in the column's data
	returns []int32           // rows that ended in CR LF, ascending
}

var _ dataflow.TextBatch = (*lines)(nil)

var newline = []byte{'\n'}

// newLines takes the block over.
func newLines(env *dataflow.Env, b files.Block) *lines {
	data := b.Buffer.Bytes()
	rows := bytes.Count(data, newline)
	if data[len(data)-1] != '\n' {
		rows++
	}
	return &lines{env: env, offset: b.Offset, rows: rows, refs: 1, text: b.Buffer}
}

// Text implements dataflow.TextBatch.
func (l *lines) Text() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text == nil {
		return "", false
	}
	b := l.text.Bytes()
	return unsafe.String(unsafe.SliceData(b), len(b)), true
}

// batch is the lines as an ordinary batch, which is l's.
func (l *lines) batch() arrow.RecordBatch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		return l.made
	}
	data := l.text.Bytes()
	obuf := memory.NewResizableBuffer(l.env.Alloc)
	obuf.Resize(arrow.Int32Traits.BytesRequired(l.rows + 1))
	offsets := arrow.Int32Traits.CastFromBytes(obuf.Bytes())
	offsets[0] = 0
	r, w := 0, 0
	for row := range l.rows {
		n := bytes.IndexByte(data[r:], '\n')
		next := r + n + 1
		if n < 0 { // the file ends without a line feed
			n = len(data) - r
			next = len(data)
		} else if n > 0 && data[r+n-1] == '\r' {
			n--
			l.returns = append(l.returns, int32(row))
		}
		copy(data[w:w+n], data[r:r+n])
		w += n
		r = next
		offsets[row+1] = int32(w)
	}
	l.text.ResizeNoShrink(w)
	d := array.NewData(arrow.BinaryTypes.String, l.rows, []*memory.Buffer{nil, obuf, l.text}, nil, 0, 0)
	obuf.Release()
	l.text.Release()
	col := array.NewStringData(d)
	d.Release()
	l.made = array.NewRecordBatch(Schema, []arrow.Array{col}, int64(l.rows))
	col.Release()
	l.text, l.offsets = nil, offsets
	return l.made
}

// at is where line i begins in the block: where it lies in the column plus the line
// ends that were before it.
func (l *lines) at(i int) int64 {
	l.batch()
	i = max(0, min(i, l.rows))
	returns := sort.Search(len(l.returns), func(k int) bool { return int(l.returns[k]) >= i })
	return int64(l.offsets[i]) + int64(i) + int64(returns)
}

// Retain implements dataflow.Batch.
func (l *lines) Retain() {
	l.mu.Lock()
	l.refs++
	l.mu.Unlock()
}

// Release implements dataflow.Batch.
func (l *lines) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refs--; l.refs > 0 {
		return
	}
	if l.made != nil {
		l.made.Release()
		return
	}
	l.text.Release()
	l.text = nil
}

// NumRows implements dataflow.Batch.
func (l *lines) NumRows() int64 { return int64(l.rows) }

// NumCols implements dataflow.Batch.
func (l *lines) NumCols() int64 { return 1 }

// Schema implements dataflow.Batch.
func (l *lines) Schema() *arrow.Schema { return Schema }

// ColumnName implements dataflow.Batch.
func (l *lines) ColumnName(i int) string { return Schema.Field(i).Name }

// Columns implements dataflow.Batch.
func (l *lines) Columns() []arrow.Array { return l.batch().Columns() }

// Column implements dataflow.Batch.
func (l *lines) Column(i int) arrow.Array { return l.batch().Column(i) }

// SetColumn implements dataflow.Batch.
func (l *lines) SetColumn(i int, col arrow.Array) (arrow.RecordBatch, error) {
	return l.batch().SetColumn(i, col)
}

// NewSlice implements dataflow.Batch.
func (l *lines) NewSlice(i, j int64) arrow.RecordBatch { return l.batch().NewSlice(i, j) }

// MarshalJSON implements dataflow.Batch.
func (l *lines) MarshalJSON() ([]byte, error) { return l.batch().MarshalJSON() }
