package coordinator

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A plan with any byte turned over, or cut short, is refused by name, and no job is made of it.
func TestDamagedPlan(t *testing.T) {
	c := start(t, t.TempDir())
	cl := client(t, c)
	whole := twoStages(t)
	refused := func(what string, i int, b []byte) {
		t.Helper()
		req := clone(whole)
		req.Job.Plan = b
		_, err := cl.Submit(t.Context(), req)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), plan.ErrDamaged.Error()) {
			t.Fatalf("%s %d: %v", what, i, err)
		}
	}
	for i := range whole.Job.Plan {
		b := bytes.Clone(whole.Job.Plan)
		b[i] ^= 1 << (i % 8)
		refused("turned over: byte", i, b)
	}
	for i := 0; i < len(whole.Job.Plan); i += 37 {
		refused("cut to", i, whole.Job.Plan[:i])
	}
	jobs, err := cl.ListJobs(t.Context(), &divisipb.ListJobsRequest{})
	if err != nil || len(jobs.GetJobs()) != 0 {
		t.Errorf("jobs: %v, %v", jobs, err)
	}
	if _, err := cl.Submit(t.Context(), whole); err != nil {
		t.Errorf("the plan itself: %v", err)
	}
}

// A forward exchange has as many partitions as there are producers: 0 in a plan is fine
// there, and nowhere else.
func TestForwardWithoutPartitions(t *testing.T) {
	cl := client(t, start(t, t.TempDir()))
	for kind, mode := range map[dataflow.ExchangeKind]plan.InputMode{dataflow.Forward: plan.ByForward, dataflow.Hash: plan.ByPartition} {
		req := twoStages(t)
		p, err := plan.Parse(req.Job.Plan)
		if err != nil {
			t.Fatal(err)
		}
		p.Exchanges[0].Kind, p.Exchanges[0].Partitions, p.Stages[1].Inputs[0].Mode = kind, 0, mode
		if req.Job.Plan, err = p.JSON(); err != nil {
			t.Fatal(err)
		}
		_, err = cl.Submit(t.Context(), req)
		if (err == nil) != (kind == dataflow.Forward) {
			t.Errorf("%s with 0 partitions: %v", kind, err)
		}
	}
}
