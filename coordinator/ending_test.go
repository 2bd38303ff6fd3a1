package coordinator

import (
	"testing"

	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// slowLog is a journal whose records are durable when the test says so.
type slowLog struct {
	n       uint64
	done    []func()
	hurried int
}

func (l *slowLog) AppendAsync(_ *divisipb.JournalRecord, done func(uint64, error)) uint64 {
	l.n++
	seq := l.n
	l.done = append(l.done, func() { done(seq, nil) })
	return seq
}

func (l *slowLog) Hurry() { l.hurried++ }

func (l *slowLog) Err() error { return nil }

func (l *slowLog) sync() {
	for _, f := range l.done {
		f()
	}
	l.done = nil
}

// TestLateWorkerIsAskedToEnd: a worker comes between the end of a job and the moment when
// the end is durable. It may run the job's attempts, so its hosts are ended before any
// output is cleaned, and it is asked to only after its welcome.
func TestLateWorkerIsAskedToEnd(t *testing.T) {
	l := &slowLog{}
	now := int64(1)
	c, err := NewCore(CoreConfig{Clock: func() int64 { return now }, Random: randomName}, nil, 0,
		func(uint64, []journal.Record) Log { return l })
	if err != nil {
		t.Fatal(err)
	}
	id := ""
	if err := c.Submit(twoStages(t), func(job string, _ bool) { id = job }); err != nil {
		t.Fatal(err)
	}
	first, err := c.Attach(newFake(t, "w1", 2).reg)
	if err != nil {
		t.Fatal(err)
	}
	l.sync()
	for range 3 { // the job begins, its output is being prepared
		c.Turn()
		l.sync()
	}
	if m, _ := first.Take(); len(m) < 3 {
		t.Fatalf("the first worker is told %v", m)
	}
	if err := c.Cancel(id, "enough", func(divisipb.JobState) {}); err != nil {
		t.Fatal(err)
	}
	late, err := c.Attach(newFake(t, "w2", 2).reg)
	if err != nil {
		t.Fatal(err)
	}
	l.sync()
	c.Turn()
	m, _ := late.Take()
	if len(m) != 2 || m[0].GetWelcome() == nil || !m[1].GetEndJob().GetHostsOnly() {
		t.Errorf("the late worker is told %v, want a welcome and the end of the hosts", m)
	}
	gone := func(st *Stream) {
		c.Receive(st, &divisipb.FromWorker{Epoch: c.Epoch(), Body: &divisipb.FromWorker_JobGone{JobGone: &divisipb.JobGone{Job: id, HostsOnly: true}}})
		for range 3 {
			c.Turn()
			l.sync()
		}
	}
	cleans := func() int {
		n := 0
		for _, st := range []*Stream{first, late} {
			m, _ := st.Take()
			for _, m := range m {
				if m.GetLaunch().GetTask().GetKind() == divisipb.TaskKind_TASK_KIND_CLEAN {
					n++
				}
			}
		}
		return n
	}
	gone(first)
	if n := cleans(); n != 0 {
		t.Errorf("%d outputs are cleaned while the late worker has not answered", n)
	}
	gone(late)
	if n := cleans(); n != 1 {
		t.Errorf("%d outputs are cleaned when all have answered, want 1", n)
	}
}
