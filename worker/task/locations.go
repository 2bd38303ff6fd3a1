package task

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/exchange"
)

// locations is what the worker has told of where blocks lie, by exchange.
type locations struct {
	mu      sync.Mutex
	of      map[int]*exchangeLocations
	workers map[string]place
	reading map[*reading]bool
	changed chan struct{} // closed and made anew at each change
}

// near gives the folder of another worker's outputs where it is on this machine.
func (l *locations) near(machine, job string) func(shuffle.Location) string {
	return func(at shuffle.Location) string {
		l.mu.Lock()
		defer l.mu.Unlock()
		w := l.workers[at.Worker]
		if machine == "" || w.machine != machine || w.dir == "" {
			return ""
		}
		return exchange.ShuffleDir(w.dir, job)
	}
}

// place is where a worker keeps its blocks.
type place struct{ machine, dir string }

type exchangeLocations struct {
	version int64
	blocks  map[producer]shuffle.Location
}

// producer is a task of a stage; its latest winner's output counts.
type producer struct{ stage, index int }

func newLocations() *locations {
	return &locations{of: map[int]*exchangeLocations{}, workers: map[string]place{}, reading: map[*reading]bool{}, changed: make(chan struct{})}
}

// told takes a message of the worker's.
func (l *locations) told(m *pb.Locations) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.of[int(m.Exchange)]
	if x == nil || m.Reset_ {
		x = &exchangeLocations{blocks: map[producer]shuffle.Location{}}
		l.of[int(m.Exchange)] = x
	}
	x.version = m.Version
	for _, b := range m.Blocks {
		t := taskID(b.Task)
		l.workers[b.Worker] = place{b.Machine, b.DataDir}
		x.blocks[producer{t.Stage, t.Index}] = shuffle.Location{Worker: b.Worker, Address: b.Address, Path: shuffle.Name(t), Task: t}
	}
	for r := range l.reading {
		if l.replaced(r.at) {
			r.gone()
		}
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// A reading is an output that is being fetched from another worker.
type reading struct {
	at   shuffle.Location
	gone func()
}

// read calls gone, at once or later, when the coordinator has named another output of
// the same producer, until done is called. gone must not block.
func (l *locations) read(at shuffle.Location, gone func()) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &reading{at, gone}
	if l.replaced(at) {
		gone()
	}
	l.reading[r] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.reading, r)
	}
}

// replaced says whether a producer's output is another than at. The caller holds mu.
func (l *locations) replaced(at shuffle.Location) bool {
	for _, x := range l.of {
		if b, ok := x.blocks[producer{at.Task.Stage, at.Task.Index}]; ok {
			return b.Task != at.Task || b.Worker != at.Worker
		}
	}
	return false
}

// wait returns when each exchange's version has been reached.
func (l *locations) wait(ctx context.Context, versions map[int32]int64) error {
	for {
		l.mu.Lock()
		ready := true
		for x, v := range versions {
			have := int64(0) // an exchange whose producers ran no task is never told of
			if of := l.of[int(x)]; of != nil {
				have = of.version
			}
			ready = ready && have >= v
		}
		changed := l.changed
		l.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// all is where the outputs of an exchange's producers lie, in the producers' order.
func (l *locations) all(x int) []shuffle.Location {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.of[x]
	if of == nil {
		return nil
	}
	out := make([]shuffle.Location, 0, len(of.blocks))
	for _, b := range of.blocks {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b shuffle.Location) int {
		return cmp.Or(a.Task.Stage-b.Task.Stage, a.Task.Index-b.Task.Index)
	})
	return out
}

// one is where the output of one producer lies.
func (l *locations) one(x, stage, index int) []shuffle.Location {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.of[x]; of != nil {
		if b, ok := of.blocks[producer{stage, index}]; ok {
			return []shuffle.Location{b}
		}
	}
	return nil
}

func taskID(t *pb.TaskID) dataflow.TaskID {
	return dataflow.TaskID{Job: t.GetJob(), Stage: int(t.GetStage()), Index: int(t.GetIndex()), Attempt: int(t.GetAttempt())}
}

func protoID(t dataflow.TaskID) *pb.TaskID {
	return &pb.TaskID{Job: t.Job, Stage: int32(t.Stage), Index: int32(t.Index), Attempt: int32(t.Attempt)}
}
