package task

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// An output takes an attempt's rows: to an exchange or to a sink, one of the two.
type output struct {
	a       *attempt
	shuffle *shuffle.Writer
	sink    dataflow.Writer

	bytesOut, bytesShuffled int64
}

// output opens the stage's output.
func (a *attempt) output(env *dataflow.Env, in *inputs, stage plan.Stage) (*output, error) {
	h, o := a.host, stage.Output
	if o.Sink >= 0 {
		env.Output = dataflow.Output{
			Commit: dataflow.Commit{Job: h.job.Id, Mode: h.program.Plan.Sinks[o.Sink].Mode, Prepared: h.preparedFor(o.Sink)},
			Part:   int(a.spec.Part),
		}
		w, err := h.program.Sink(o.Sink).Open(env)
		if err != nil {
			return nil, err
		}
		return &output{a: a, sink: w}, nil
	}
	x := h.program.Plan.Exchanges[o.Exchange]
	schema := h.program.ExchangeSchema(o.Exchange)
	bounds, err := a.bounds(env, in, o, x, schema)
	if err != nil {
		return nil, err
	}
	part, err := shuffle.NewPartitioner(x.Exchange, schema, a.id, bounds)
	if err != nil {
		return nil, err
	}
	w, err := shuffle.NewWriter(env, schema, part, filepath.Join(h.init.Dirs[0], "shuffle"), shuffle.Options{Keep: h.keep})
	if err != nil {
		return nil, err
	}
	return &output{a: a, shuffle: w}, nil
}

// bounds reads the sample from which a range partitioning is made.
func (a *attempt) bounds(env *dataflow.Env, in *inputs, o plan.Output, x plan.Exchange, schema *arrow.Schema) (*order.Keys, error) {
	if o.Sample < 0 {
		return nil, nil
	}
	sample, err := in.exchange(plan.Input{Mode: plan.Whole, Exchange: o.Sample})
	if err != nil {
		return nil, err
	}
	// The sample holds the key columns alone, in the keys' order.
	keys := make([]dataflow.SortKey, len(x.Keys))
	for i, k := range x.Keys {
		keys[i] = dataflow.SortKey{Column: i, Descending: k.Descending}
	}
	return shuffle.Bounds(env.Context, env, sample, in.schema(o.Sample), keys, x.Partitions)
}

func (o *output) write(ctx context.Context, b dataflow.Batch) error {
	if o.sink != nil {
		return o.sink.Write(ctx, b)
	}
	return o.shuffle.Write(b)
}

// seal finishes the output and fills in what the coordinator is told of it.
func (o *output) seal(ctx context.Context, r *pb.TaskResult) error {
	if o.sink != nil {
		receipt, err := o.sink.Seal(ctx)
		if err != nil {
			return err
		}
		receipt.Task = o.a.id
		o.bytesOut = receipt.Bytes
		r.RowHash = receipt.Hash
		r.Receipt, err = json.Marshal(receipt)
		return err
	}
	s, err := o.shuffle.Seal()
	if err != nil {
		return err
	}
	o.bytesShuffled = s.Bytes
	r.RowHash = s.Hash
	r.Output = &pb.PartitionSizes{Bytes: make([]int64, len(s.Partitions)), Rows: make([]int64, len(s.Partitions))}
	for i, p := range s.Partitions {
		r.Output.Bytes[i], r.Output.Rows[i] = p.Bytes, p.Rows
	}
	return nil
}

// abort throws away what was written.
func (o *output) abort(ctx context.Context) error {
	if o == nil {
		return nil
	}
	var errs []error
	if o.sink != nil {
		errs = append(errs, o.sink.Abort(ctx))
	}
	if o.shuffle != nil {
		errs = append(errs, o.shuffle.Abort())
	}
	return errors.Join(errs...)
}
