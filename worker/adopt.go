package worker

import (
	"context"

	"google.golang.org/grpc"

	"github.com/divisi-data/divisi/dataflow/shuffle"
	"github.com/divisi-data/divisi/internal/security"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/exchange"
)

// adopt copies outputs of a worker that leaves, one after the other, and answers when
// all were tried. What the coordinator never hears of goes with its job.
func (w *Worker) adopt(m *pb.AdoptBlocks) {
	w.mu.Lock()
	j := w.jobs[m.Job]
	if j == nil || w.ctx.Err() != nil {
		w.sendLocked(&pb.FromWorker{Body: &pb.FromWorker_BlocksAdopted{BlocksAdopted: &pb.BlocksAdopted{
			Job: m.Job, Failed: m.Tasks, Why: "this worker does not know the job",
		}}})
		w.mu.Unlock()
		return
	}
	before := j.adopting
	done := make(chan struct{})
	j.adopting = done
	w.closing.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		answer := w.copyAll(j, m)
		w.send(&pb.FromWorker{Body: &pb.FromWorker_BlocksAdopted{BlocksAdopted: answer}})
	})
	w.mu.Unlock()
}

func (w *Worker) copyAll(j *job, m *pb.AdoptBlocks) *pb.BlocksAdopted {
	f := exchange.NewFetcher(exchange.FetcherConfig{
		Job: m.Job, Own: w.advertised(), Dir: exchange.ShuffleDir(w.cfg.Dir, m.Job),
		Dial: []grpc.DialOption{grpc.WithTransportCredentials(w.cfg.Identity.Dial(security.Worker))},
	})
	defer f.Close()
	answer := &pb.BlocksAdopted{Job: m.Job}
	for _, t := range m.Tasks {
		held, err := w.copyOne(j.ctx, f, m, t)
		if err == nil && !w.hold(j, held) {
			err = context.Canceled
		}
		if err != nil {
			answer.Failed = append(answer.Failed, t)
			if answer.Why == "" {
				answer.Why = err.Error()
			}
			continue
		}
		answer.Tasks = append(answer.Tasks, t)
	}
	return answer
}

func (w *Worker) copyOne(ctx context.Context, f *exchange.Fetcher, m *pb.AdoptBlocks, t *pb.TaskID) (heldOutput, error) {
	if err := ctx.Err(); err != nil {
		return heldOutput{}, err
	}
	from := shuffle.Location{Worker: m.Worker, Address: m.Address, Task: dataflowID(t)}
	n, err := f.Copy(ctx, from, exchange.ShuffleDir(w.cfg.Dir, m.Job))
	return heldOutput{id: t, bytes: n}, err
}

// hold adds an output to those that a job has here, unless the job has ended.
func (w *Worker) hold(j *job, o heldOutput) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.jobs[j.id] != j {
		return false
	}
	j.outputs[attemptKey(o.id)] = o
	return true
}
