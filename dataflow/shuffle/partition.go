package shuffle

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// A Partitioner says which partition each row goes to. It belongs to one attempt
// and one goroutine: some count rows as they pass. The same rows in the same order
// go to the same partitions whenever a task runs.
type Partitioner interface {
	// Partitions is how many there are, at least one.
	Partitions() int
	// Partition sets dst[i], for every row i of b, to a number in [0, Partitions).
	Partition(dst []int32, b dataflow.Batch) error
}

// NewPartitioner is the partitioner of an exchange for one task's rows. Of a Range
// exchange, bounds are where the partitions begin, as Bounds finds them; the others
// need none. An exchange that does not fit the schema is an error of kind User.
func NewPartitioner(x dataflow.Exchange, schema *arrow.Schema, task dataflow.TaskID, bounds *order.Keys) (Partitioner, error) {
	n := max(x.Partitions, 1)
	for _, c := range x.Columns {
		if c < 0 || c >= schema.NumFields() {
			return nil, misfit("column %d of %d", c, schema.NumFields())
		}
	}
	switch x.Kind {
	case dataflow.Single, dataflow.Broadcast, dataflow.Forward:
		return one{}, nil
	case dataflow.Hash:
		if len(x.Columns) == 0 {
			return nil, misfit("a hash of no columns")
		}
		return &byHash{n: n, cols: x.Columns}, nil
	case dataflow.Spread:
		return &spread{n: n, next: task.Index % n}, nil
	case dataflow.Direct:
		if len(x.Columns) != 1 || schema.Field(x.Columns[0]).Type.ID() != arrow.INT32 {
			return nil, misfit("a direct exchange needs one column of type int32")
		}
		return &direct{n: n, col: x.Columns[0]}, nil
	case dataflow.Range:
		if bounds == nil {
			return nil, misfit("a range exchange needs bounds")
		}
		enc, err := order.NewEncoder(schema, x.Keys)
		if err != nil {
			return nil, err
		}
		return &byRange{n: n, enc: enc, bounds: bounds}, nil
	}
	return nil, misfit("unknown kind %q", x.Kind)
}

func misfit(format string, args ...any) error {
	return &dataflow.Error{Op: "shuffle.Partition", Kind: dataflow.User, Err: fmt.Errorf("exchange: "+format, args...)}
}

// one partition takes everything.
type one struct{}

func (one) Partitions() int { return 1 }

func (one) Partition(dst []int32, _ dataflow.Batch) error {
	clear(dst)
	return nil
}

// byHash scales the hash to the number of partitions: its high bits decide, so any
// number will do and tables inside a partition can use the low ones.
type byHash struct {
	n      int
	cols   []int
	hashes []uint64
}

func (p *byHash) Partitions() int { return p.n }

func (p *byHash) Partition(dst []int32, b dataflow.Batch) error {
	if cap(p.hashes) < len(dst) {
		p.hashes = make([]uint64, len(dst))
	}
	h := p.hashes[:len(dst)]
	if err := dataflow.HashColumns(h, b, p.cols); err != nil {
		return err
	}
	for i, v := range h {
		dst[i] = int32(dataflow.PartitionOf(v, p.n))
	}
	return nil
}

// spread deals rows like cards, beginning with another partition for each task.
type spread struct{ n, next int }

func (p *spread) Partitions() int { return p.n }

func (p *spread) Partition(dst []int32, _ dataflow.Batch) error {
	for i := range dst {
		dst[i] = int32(p.next)
		if p.next++; p.next == p.n {
			p.next = 0
		}
	}
	return nil
}

// direct does what a column says. Null counts as 0, and -1 is the last partition.
type direct struct{ n, col int }

func (p *direct) Partitions() int { return p.n }

func (p *direct) Partition(dst []int32, b dataflow.Batch) error {
	col, ok := b.Column(p.col).(*array.Int32)
	if !ok {
		return misfit("column %d holds %s, not int32", p.col, b.Column(p.col).DataType())
	}
	n, nulls := int32(p.n), col.NullN() > 0
	for i, v := range col.Int32Values() {
		if nulls && col.IsNull(i) {
			v = 0
		}
		if v %= n; v < 0 {
			v += n
		}
		dst[i] = v
	}
	return nil
}

// byRange finds the last bound that is not after a row.
type byRange struct {
	n      int
	enc    *order.Encoder
	bounds *order.Keys
	keys   order.Keys
}

func (p *byRange) Partitions() int { return p.n }

func (p *byRange) Partition(dst []int32, b dataflow.Batch) error {
	p.keys.Reset()
	if err := p.enc.Append(&p.keys, b); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = int32(order.Search(p.bounds, &p.keys, i))
	}
	return nil
}
