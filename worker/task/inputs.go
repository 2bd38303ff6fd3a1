package task

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// inputs opens what an attempt reads.
type inputs struct {
	a     *attempt
	env   *dataflow.Env
	stage plan.Stage

	local, remote atomic.Int64 // bytes fetched
	wait          atomic.Int64 // nanoseconds

	mu     sync.Mutex
	opened []dataflow.Stream
}

// keep notes a stream, to be closed at the end whoever was to do it.
func (in *inputs) keep(s dataflow.Stream) dataflow.Stream {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.opened = append(in.opened, s)
	return s
}

// close closes all inputs, most of them again.
func (in *inputs) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.opened {
		s.Close()
	}
}

// open opens the stage's i-th input.
func (in *inputs) open(i int) (dataflow.Stream, error) {
	input := in.stage.Inputs[i]
	if input.Mode == plan.BySplit {
		return in.source(input)
	}
	from, err := in.outputs(input)
	if err != nil {
		return nil, err
	}
	c := &counted{Stream: in.fetch(input, from), a: in.a}
	if input.Mode != plan.Whole {
		return c, nil
	}
	var of strings.Builder
	for _, f := range from {
		of.WriteString(f.Task.String() + " ")
	}
	return &whole{c, dataflow.Whole{Stage: in.stage.ID, Input: i, Of: of.String()}}, nil
}

// share is which keys the attempt has, where all its partitions were made by hash.
func (in *inputs) share() dataflow.Share {
	var share dataflow.Share
	for _, input := range in.stage.Inputs {
		if input.Mode != plan.ByPartition {
			continue
		}
		x := in.a.host.program.Plan.Exchanges[input.Exchange]
		if x.Kind != dataflow.Hash {
			return dataflow.Share{}
		}
		share = dataflow.Share{Lo: int(in.a.spec.PartitionLo), Hi: int(in.a.spec.PartitionHi), Of: x.Partitions}
	}
	return share
}

// side opens the whole of the exchange that a node reads beside the rows.
func (in *inputs) side(_ context.Context, node int) (dataflow.Stream, error) {
	for _, input := range in.stage.Inputs {
		if input.Mode == plan.Whole && input.Node == node {
			return in.exchange(input)
		}
	}
	return nil, &dataflow.Error{Op: "task.Side", Kind: dataflow.Fatal, Err: fmt.Errorf("stage %d has no side input of node %d", in.stage.ID, node)}
}

// source opens the attempt's split.
func (in *inputs) source(input plan.Input) (dataflow.Stream, error) {
	a := in.a
	sp := a.spec.Split
	if sp == nil {
		return nil, &dataflow.Error{Op: "task", Kind: dataflow.Fatal, Err: fmt.Errorf("a task of stage %d came without its split", in.stage.ID)}
	}
	split := dataflow.Split{ID: sp.Id, Bytes: sp.Bytes, Hosts: sp.Hosts, Payload: sp.Payload}
	s, err := a.host.program.Source(input.Source).Open(in.env, split)
	if err != nil {
		return nil, err
	}
	a.cuts.open(s)
	if p, ok := s.(dataflow.Progresser); ok {
		a.split.Store(&p)
	} else {
		a.bytesIn.Add(split.Bytes)
	}
	return in.keep(&counted{Stream: s, a: a}), nil
}

// exchange opens the attempt's share of an exchange.
func (in *inputs) exchange(input plan.Input) (dataflow.Stream, error) {
	from, err := in.outputs(input)
	if err != nil {
		return nil, err
	}
	return in.fetch(input, from), nil
}

// outputs is where that lies of which the attempt reads a share.
func (in *inputs) outputs(input plan.Input) ([]shuffle.Location, error) {
	h, spec := in.a.host, in.a.spec
	if input.Mode != plan.ByForward {
		all := h.locations.all(input.Exchange)
		if input.Shared {
			all = shareOf(all, int(spec.Share), int(spec.ShareOf))
		}
		return all, nil
	}
	from := h.locations.one(input.Exchange, int(spec.ForwardStage), int(spec.ForwardIndex))
	if from == nil {
		return nil, &dataflow.Error{Op: "task", Kind: dataflow.InputLost, Err: fmt.Errorf("nobody has said where the output of task %d/%d lies", spec.ForwardStage, spec.ForwardIndex)}
	}
	return from, nil
}

// fetch reads the attempt's share of outputs.
func (in *inputs) fetch(input plan.Input, from []shuffle.Location) dataflow.Stream {
	lo, hi := 0, 1
	if input.Mode == plan.ByPartition {
		lo, hi = int(in.a.spec.PartitionLo), int(in.a.spec.PartitionHi)
	}
	s := shuffle.Open(in.env, in.a.host.fetcher.Counting(&in.local, &in.remote), from, lo, hi, in.schema(input.Exchange), shuffle.ReadOptions{})
	return in.keep(&waiting{Stream: s, in: in})
}

// fitsShare says why a task's share cannot be one of its stage's: rows would be read by
// several tasks, or by none.
func fitsShare(stage plan.Stage, spec *pb.TaskSpec) error {
	share, of := spec.GetShare(), spec.GetShareOf()
	if share == 0 && of == 0 {
		return nil
	}
	if !slices.ContainsFunc(stage.Inputs, func(in plan.Input) bool { return in.Shared }) {
		return fmt.Errorf("a task of stage %d came with share %d of %d, and none of its inputs is shared out", stage.ID, share, of)
	}
	if share < 0 || share >= of {
		return fmt.Errorf("a task of stage %d came with share %d of %d", stage.ID, share, of)
	}
	return nil
}

// shareOf is the outputs of those producers whose index is share modulo of; 0: all.
func shareOf(from []shuffle.Location, share, of int) []shuffle.Location {
	if of == 0 {
		return from
	}
	return slices.DeleteFunc(from, func(l shuffle.Location) bool { return l.Task.Index%of != share })
}

func (in *inputs) schema(exchange int) *arrow.Schema {
	return in.a.host.program.ExchangeSchema(exchange)
}

// counted counts the rows an attempt reads, and shows through it where they are from.
type counted struct {
	dataflow.Stream
	a *attempt
}

func (c *counted) Next(ctx context.Context) (dataflow.Batch, error) {
	if ctx.Err() != nil { // an operator may read all its input before it gives anything
		return nil, context.Cause(ctx)
	}
	b, err := c.Stream.Next(ctx)
	if err == nil {
		c.a.moved(b.NumRows())
	}
	return b, err
}

// Sieve implements dataflow.Siever.
func (c *counted) Sieve(v dataflow.Sieve) { dataflow.PutSieve(c.Stream, v) }

// whole is a stream of all rows of an exchange.
type whole struct {
	*counted
	name dataflow.Whole
}

// Whole implements dataflow.Wholly.
func (w *whole) Whole() (dataflow.Whole, bool) { return w.name, true }

// waiting measures how long an exchange is waited for.
type waiting struct {
	dataflow.Stream
	in *inputs
}

// Next implements dataflow.Stream.
func (w *waiting) Next(ctx context.Context) (dataflow.Batch, error) {
	began := time.Now()
	b, err := w.Stream.Next(ctx)
	w.in.wait.Add(int64(time.Since(began)))
	return b, err
}

// Locate implements dataflow.Locator.
func (c *counted) Locate(row int) string { return dataflow.Locate(c.Stream, row) }
