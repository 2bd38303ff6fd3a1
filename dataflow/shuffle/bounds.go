package shuffle

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// Bounds finds where the n partitions of a Range exchange begin: at most n-1 rows
// of the sample that cut it into equal parts, in order. The same sample gives the
// same bounds. Rows alike in keys are never cut apart, so a value that is more
// than a partition's share makes a large partition and empty ones before it; an
// empty sample gives no bounds, and all rows go to the first partition.
//
// schema is the sample's and keys are positions in it. It may differ from that of
// the rows to be partitioned (hold the key columns alone, say) as long as the key
// columns have the same types in the same order. Bounds reads the sample to its
// end, closes it, and holds its keys meanwhile, which it reserves in env.Memory.
func Bounds(ctx context.Context, env *dataflow.Env, sample dataflow.Stream, schema *arrow.Schema, keys []dataflow.SortKey, n int) (bounds *order.Keys, err error) {
	defer func() { err = errors.Join(err, sample.Close()) }()
	enc, err := order.NewEncoder(schema, keys)
	if err != nil {
		return nil, err
	}
	var all order.Keys
	var held int64
	defer func() { env.Memory.Release(held) }()
	for {
		b, err := sample.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		err = enc.Append(&all, b)
		b.Release()
		if err != nil {
			return nil, err
		}
		more := all.Bytes() + int64(all.Len())*order.SortBytesPerRow - held
		if err := env.Memory.Reserve(more); err != nil {
			return nil, fmt.Errorf("sample of a range exchange: %w", err)
		}
		held += more
	}
	bounds = &order.Keys{}
	if all.Len() == 0 {
		return bounds, nil
	}
	sorted := order.Sort(&all)
	for i := 1; i < n; i++ {
		bounds.AppendFrom(&all, int(sorted[i*len(sorted)/n]))
	}
	return bounds, nil
}
