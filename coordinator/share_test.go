package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// joinOfTwo reads two sources, three splits of each, and joins them in three partitions.
func joinOfTwo(t *testing.T) *divisipb.SubmitRequest {
	t.Helper()
	p := &plan.Plan{
		Version: plan.Version, Job: "join", Fingerprint: "f",
		Sources: []plan.Source{{Name: "left"}, {ID: 1, Name: "right"}}, Sinks: []plan.Sink{{Name: "out"}},
	}
	join := plan.Stage{ID: 2, Name: "join", Output: plan.Output{Exchange: -1, Sink: 0, Sample: -1}}
	for i := range 2 {
		p.Stages = append(p.Stages, plan.Stage{ID: i, Name: "read", Inputs: []plan.Input{{Mode: plan.BySplit, Source: i, Exchange: -1}}, Output: plan.Output{Exchange: i, Sink: -1, Sample: -1}})
		p.Exchanges = append(p.Exchanges, plan.Exchange{ID: i, Exchange: dataflow.Exchange{Kind: dataflow.Hash, Partitions: 3}, Producers: []int{i}, Consumers: []int{2}})
		join.Inputs = append(join.Inputs, plan.Input{Mode: plan.ByPartition, Source: -1, Exchange: i, Shared: i == 0})
	}
	p.Stages = append(p.Stages, join)
	b, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return &divisipb.SubmitRequest{Job: &divisipb.JobSpec{Name: "Join", Plan: b, Fingerprint: "f"}, Owner: "ann"}
}

// TestShares: a partition that is much larger than the others is shared out to as many tasks
// as there are slots then, not when the job was submitted; attempts are told their share,
// after a restart too, and whoever asks where tasks ran sees it.
func TestShares(t *testing.T) {
	dir := t.TempDir()
	large := func(cfg *Config) { cfg.TaskBytes = 1 << 20 }
	c := start(t, dir, large)
	r, err := client(t, c).Submit(t.Context(), joinOfTwo(t))
	if err != nil {
		t.Fatal(err)
	}
	do := func(t *divisipb.TaskSpec) *divisipb.FromWorker {
		m := succeed(t)
		if o := m.GetResult().GetOutput(); o != nil && t.GetSplit() != nil {
			o.Bytes, o.Rows = []int64{100, 100, 100}, []int64{5, 5, 5}
			if t.GetId().GetStage() == 0 {
				o.Bytes[1] = 1 << 20
			}
		}
		return m
	}
	f := newFake(t, "w1", 8)
	f.do = func(t *divisipb.TaskSpec) *divisipb.FromWorker {
		if t.GetId().GetStage() == 2 {
			return nil // not one is done when the coordinator ends
		}
		return do(t)
	}
	f.attach(c)
	want := []string{"[0, 1)", "[1, 2) 0 of 3", "[1, 2) 1 of 3", "[1, 2) 2 of 3", "[2, 3)"}
	told := func() []string {
		all := make([]string, 5)
		for _, s := range f.launched {
			if s.GetId().GetStage() != 2 {
				continue
			}
			what := fmt.Sprintf("[%d, %d)", s.GetPartitionLo(), s.GetPartitionHi())
			if s.GetShareOf() > 0 {
				what += fmt.Sprintf(" %d of %d", s.GetShare(), s.GetShareOf())
			}
			all[s.GetId().GetIndex()] = what
		}
		return all
	}
	f.await("the tasks of the join", func() bool { return slices.Equal(told(), want) })

	c.Close()
	f.detach()
	c = start(t, dir, large)
	f = newFake(t, "w2", 8) // which has nothing of what was
	f.do = do
	f.attach(c)
	st := outcome(t, c, r.GetJob())
	if st.GetState() != divisipb.JobState_JOB_STATE_SUCCEEDED || st.GetTasks() != 11 {
		t.Fatalf("job ended %s with %d tasks: %s", st.GetState(), st.GetTasks(), st.GetError())
	}
	f.await("all tasks of the join", func() bool { return f.count(2) == 5 })
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("after the restart: %q, want %q", got, want)
	}
	shares := 0
	for _, e := range events(t, c, r.GetJob())["task-done"] {
		if e.GetTask().GetStage() == 2 && strings.HasSuffix(e.GetPlacement().GetWhy(), fmt.Sprintf("; share %d of 3 of partition 1", e.GetTask().GetIndex())) {
			shares++
		}
	}
	if shares != 3 {
		t.Errorf("%d tasks are said to read a share, want 3", shares)
	}
}
