package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow/compute"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// An attempt is one try at one task. One goroutine runs it; progress and cancel may be
// called from others.
type attempt struct {
	host    *host
	spec    *pb.TaskSpec
	id      dataflow.TaskID
	cancel  context.CancelCauseFunc
	started time.Time

	log    *attemptLog
	alloc  *countingAllocator
	memory *dataflow.Memory
	split  atomic.Pointer[dataflow.Progresser] // of the source being read
	in     atomic.Pointer[inputs]              // of a stage
	cuts   cuts

	rowsIn, bytesIn, rowsOut, bytesOut, spilled atomic.Int64
	steps                                       atomic.Int64 // calls of dataflow.Advance
	movedAt                                     atomic.Int64 // since started, nanoseconds
}

// moved notes that something has happened.
func (a *attempt) moved(rowsIn int64) {
	a.rowsIn.Add(rowsIn)
	a.movedAt.Store(int64(time.Since(a.started)))
}

// advancing is ctx under which dataflow.Advance says that the attempt gets on.
func (a *attempt) advancing(ctx context.Context) context.Context {
	return dataflow.WithAdvance(ctx, func() { a.steps.Add(1); a.moved(0) })
}

// run runs the attempt and reports how it ended.
func (a *attempt) run(ctx context.Context) {
	result, err := a.try(ctx)
	// Once cancelled, whatever else went wrong is a consequence.
	if err != nil && ctx.Err() != nil && dataflow.KindOf(err) != dataflow.User {
		err = context.Cause(ctx)
	}
	if err != nil {
		a.host.send(&pb.FromHost{Body: &pb.FromHost_Failure{Failure: a.failure(err)}})
		return
	}
	for _, part := range chunked(result) {
		a.host.send(&pb.FromHost{Body: &pb.FromHost_Result{Result: part}})
	}
}

// try runs the attempt; a panic is an error of kind User.
func (a *attempt) try(ctx context.Context) (result *pb.TaskResult, err error) {
	if a.host.program == nil {
		return nil, &dataflow.Error{Op: "task", Task: a.id.String(), Kind: dataflow.Fatal, Err: a.host.broken}
	}
	env, closeEnv, err := a.env(ctx)
	if err != nil {
		return nil, &dataflow.Error{Op: "task", Task: a.id.String(), Kind: ownFiles(err), Err: err}
	}
	defer closeEnv()
	env.Log.Info("attempt begins", "task", a.id.String(), "what", a.what(), "split", a.spec.GetSplit().GetId(),
		"partition_lo", a.spec.PartitionLo, "partition_hi", a.spec.PartitionHi, "share", a.spec.Share, "of", a.spec.ShareOf)
	defer func() {
		if v := recover(); v != nil {
			result, err = nil, &panicError{value: v, stack: string(debug.Stack())}
		}
		if err != nil {
			env.Log.Error("attempt fails", "kind", dataflow.KindOf(err).String(), "err", err)
			return
		}
		a.log.end()
		env.Log.Info("attempt ends", "rows_in", a.rowsIn.Load(), "rows_out", a.rowsOut.Load(), "seconds", time.Since(a.started).Seconds())
	}()
	if a.spec.Kind != pb.TaskKind_TASK_KIND_RUN {
		return a.control(env)
	}
	return a.work(env)
}

// what says in words what the attempt does.
func (a *attempt) what() string {
	stages := a.host.program.Plan.Stages
	switch id := int(a.spec.Id.Stage); {
	case a.spec.Kind != pb.TaskKind_TASK_KIND_RUN:
		return strings.ToLower(strings.TrimPrefix(a.spec.Kind.String(), "TASK_KIND_")) + " " + strconv.Itoa(int(a.spec.Target))
	case id >= 0 && id < len(stages):
		return stages[id].Name
	}
	return ""
}

// panicError is a panic outside the functions that name their record.
type panicError struct {
	value any
	stack string
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }
func (p *panicError) Unwrap() error { return dataflow.ErrPanic }

// env makes what the attempt's operators are given; the function frees it.
func (a *attempt) env(ctx context.Context) (*dataflow.Env, func(), error) {
	h := a.host
	temp, err := newTemp(h.init.Dirs, shuffle.Name(a.id), h.init.LowWaterBytes)
	if err != nil {
		return nil, nil, err
	}
	a.memory = h.memory.attempt("task "+a.id.String(), a.spec.MemoryBytes)
	a.alloc = newCountingAllocator()
	env := &dataflow.Env{
		Context: compute.WithAllocator(ctx, a.alloc), Task: a.id, Alloc: a.alloc, Memory: a.memory,
		Log:  slog.New(slog.NewTextHandler(a.log, nil)),
		Temp: temp, Spill: block.NewSpill(block.LZ4), Counters: dataflow.NewCounters(), Shared: h.shared,
		Events: &dataflow.Events{Spilled: func(i dataflow.SpillInfo) { a.spilled.Add(i.Bytes); a.moved(0) }},
		File: func(name string) (string, error) {
			p := filepath.Join(h.init.FilesDir, filepath.Base(name))
			if _, err := os.Stat(p); err != nil {
				return "", &dataflow.Error{Op: "task.File", Path: name, Kind: dataflow.User, Err: err, Try: "ship it with Job.File"}
			}
			return p, nil
		},
		BatchRows: dataflow.DefaultBatchRows, BatchBytes: dataflow.DefaultBatchBytes,
		Check: h.job.Check, Redact: h.job.RedactRecords,
	}
	return env, func() {
		a.memory.Close()
		if n := a.alloc.used.Load(); h.job.Check && n != 0 {
			env.Log.Warn("batches were not released", "bytes", n)
		}
		if err := temp.remove(); err != nil {
			env.Log.Error("spill files cannot be removed", "err", err)
		}
		if err := a.log.close(); err != nil {
			slog.Warn("an attempt's log could not be kept", "task", a.id.String(), "err", err)
		}
	}, nil
}

// work runs a stage's operators over the attempt's input into its output.
func (a *attempt) work(env *dataflow.Env) (result *pb.TaskResult, err error) {
	h := a.host
	p := h.program.Plan
	stageID := int(a.spec.Id.Stage)
	if stageID < 0 || stageID >= len(p.Stages) {
		return nil, &dataflow.Error{Op: "task", Kind: dataflow.Fatal, Err: fmt.Errorf("no stage %d in the plan", stageID)}
	}
	stage := p.Stages[stageID]
	if err := fitsShare(stage, a.spec); err != nil {
		return nil, &dataflow.Error{Op: "task", Kind: dataflow.Fatal, Err: err}
	}
	if err := h.locations.wait(env.Context, a.spec.ExchangeVersions); err != nil {
		return nil, err
	}
	in := &inputs{a: a, env: env, stage: stage}
	a.in.Store(in)
	// Again, for those that nobody could close any more; before the memory they hold
	// is given back.
	defer in.close()
	env.Side = in.side
	env.Share = in.share()
	out, err := a.output(env, in, stage)
	if err != nil {
		return nil, err
	}
	// Whatever happens, a panic included: what was not sealed is thrown away.
	sealed := false
	defer func() {
		if !sealed {
			err = errors.Join(err, out.abort(context.WithoutCancel(env.Context)))
		}
	}()
	meter := plan.NewMeter(len(stage.Ops))
	stream, err := h.program.OpenMetered(env, stageID, meter, in.open)
	if err != nil {
		return nil, err
	}
	defer stream.Close() // again, after a panic; drive closes it and looks at the error
	if err := a.drive(env, stream, out); err != nil {
		return nil, err
	}
	result = &pb.TaskResult{Id: a.spec.Id, Kind: a.spec.Kind, Cut: a.cuts.close()}
	if err := out.seal(a.advancing(env.Context), result); err != nil {
		return nil, err
	}
	sealed = true
	result.Counters = env.Counters.Values()
	result.Ops = opStats(meter)
	result.Stats = a.stats(in)
	result.Stats.BytesOut, result.Stats.BytesShuffled = out.bytesOut, out.bytesShuffled
	return result, nil
}

// drive moves every batch from the stage to the output, and closes the stage.
func (a *attempt) drive(env *dataflow.Env, in dataflow.Stream, out *output) error {
	writing := a.advancing(env.Context)
	for {
		b, err := in.Next(env.Context)
		if err == io.EOF {
			return in.Close()
		}
		if err != nil {
			return errors.Join(err, in.Close())
		}
		rows := b.NumRows()
		err = out.write(writing, b)
		b.Release()
		if err != nil {
			return errors.Join(err, in.Close())
		}
		a.rowsOut.Add(rows)
		a.moved(0)
		if env.Context.Err() != nil {
			return errors.Join(context.Cause(env.Context), in.Close())
		}
	}
}

// control runs one of the tasks that a job needs beside its stages.
func (a *attempt) control(env *dataflow.Env) (*pb.TaskResult, error) {
	h := a.host
	ctx := a.advancing(env.Context)
	target := int(a.spec.Target)
	result := &pb.TaskResult{Id: a.spec.Id, Kind: a.spec.Kind}
	targets := len(h.program.Plan.Sinks)
	if a.spec.Kind == pb.TaskKind_TASK_KIND_SPLITS {
		targets = len(h.program.Plan.Sources)
	}
	if target < 0 || target >= targets {
		return nil, &dataflow.Error{Op: "task", Kind: dataflow.Fatal, Err: fmt.Errorf("%s of %d, the plan has %d", a.spec.Kind, target, targets)}
	}
	if a.spec.Kind == pb.TaskKind_TASK_KIND_SPLITS {
		splits, err := h.program.Source(target).Splits(ctx, dataflow.SplitHint{Slots: int(a.spec.Slots)})
		if err != nil {
			return nil, err
		}
		for _, s := range splits {
			result.Splits = append(result.Splits, protoSplit(s))
		}
		return result, nil
	}
	sink := h.program.Sink(target)
	c := dataflow.Commit{Job: h.job.Id, Mode: h.program.Plan.Sinks[target].Mode, Prepared: h.preparedFor(target)}
	var err error
	switch a.spec.Kind {
	case pb.TaskKind_TASK_KIND_PREPARE:
		result.Prepared, err = sink.Prepare(ctx, c)
	case pb.TaskKind_TASK_KIND_PUBLISH:
		var won []dataflow.Receipt
		for _, raw := range a.spec.Receipts {
			var r dataflow.Receipt
			if err := json.Unmarshal(raw, &r); err != nil {
				return nil, &dataflow.Error{Op: "task.Publish", Kind: dataflow.Fatal, Err: fmt.Errorf("a receipt of the journal's: %w", err)}
			}
			won = append(won, r)
		}
		err = sink.Publish(ctx, c, won)
	case pb.TaskKind_TASK_KIND_CLEAN:
		err = sink.Clean(ctx, c)
	default:
		err = &dataflow.Error{Op: "task", Kind: dataflow.Fatal, Err: fmt.Errorf("a control task of kind %s", a.spec.Kind)}
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}
