package plan

import (
	"context"
	"errors"
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
)

// check asserts in tests what a node promises of its rows: their order, and that all
// rows alike in some columns are in one task.
func check(env *dataflow.Env, s dataflow.Stream, n *dataflow.Node) (dataflow.Stream, error) {
	if len(n.SortedBy) > 0 {
		args, err := sortedArgs(n.SortedBy)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		op, err := dataflow.NewOperator("checksorted", args)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if s, err = op.Open(env, s); err != nil {
			return nil, err
		}
	}
	if len(n.PartitionedBy) > 0 && env.Share.Of > 0 {
		s = &placeChecker{Stream: s, node: n, share: env.Share}
	}
	return s, nil
}

// placeChecker fails on a row that belongs to another task.
type placeChecker struct {
	dataflow.Stream
	node   *dataflow.Node
	share  dataflow.Share
	hashes []uint64
}

func (c *placeChecker) Next(ctx context.Context) (dataflow.Batch, error) {
	b, err := c.Stream.Next(ctx)
	if err != nil {
		return nil, err
	}
	if int64(cap(c.hashes)) < b.NumRows() {
		c.hashes = make([]uint64, b.NumRows())
	}
	h := c.hashes[:b.NumRows()]
	if err := dataflow.HashColumns(h, b, c.node.PartitionedBy); err != nil {
		b.Release()
		return nil, err
	}
	for row, v := range h {
		if p := dataflow.PartitionOf(v, c.share.Of); p < c.share.Lo || p >= c.share.Hi {
			b.Release()
			return nil, &dataflow.Error{Op: c.node.Name, Path: c.node.Site, Kind: dataflow.Fatal,
				Err: fmt.Errorf("row %d is of partition %d and came to the task of %d to %d (of %d): the plan promises that rows alike in columns %v are in one task",
					row, p, c.share.Lo, c.share.Hi-1, c.share.Of, c.node.PartitionedBy)}
		}
	}
	return b, nil
}

// Locate implements dataflow.Locator.
func (c *placeChecker) Locate(row int) string { return dataflow.Locate(c.Stream, row) }

// Sieve implements dataflow.Siever: what a join leaves out is left out in tests too.
func (c *placeChecker) Sieve(v dataflow.Sieve) { dataflow.PutSieve(c.Stream, v) }
