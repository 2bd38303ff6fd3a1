package coordinator

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// twice makes every call two times and takes the second answer, as after a first one that
// was lost.
func twice(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := call(ctx, method, req, proto.Clone(reply.(proto.Message)), conn, opts...); err != nil {
		return err
	}
	return call(ctx, method, req, reply, conn, opts...)
}

// TestEverythingTwice: clients make each call twice and workers say each thing twice. No
// job is entered twice, no task is done twice, nothing is counted twice.
func TestEverythingTwice(t *testing.T) {
	c := start(t, t.TempDir())
	conn, err := grpc.NewClient(c.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(twice))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cl := divisipb.NewClientClient(conn)
	failed := map[string]bool{}
	w := newFake(t, "w1", 4)
	w.twice = true
	w.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		// The first attempt at each task of the first stage fails.
		if k := s.GetId().GetJob() + s.GetSplit().GetId(); s.GetSplit() != nil && !failed[k] {
			failed[k] = true
			return &divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: &divisipb.TaskFailure{Id: s.GetId(), TaskKind: s.GetKind(), ErrorKind: int32(dataflow.Transient), Message: "no luck"}}}
		}
		return succeed(s)
	}
	w.attach(c)
	var ids []string
	for _, key := range []string{"a", "b"} {
		req := twoStages(t)
		req.IdempotencyKey = key
		r, err := cl.Submit(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if !r.GetExisted() {
			t.Errorf("job %s was submitted a second time and is new", r.GetJob())
		}
		ids = append(ids, r.GetJob())
		st := outcome(t, c, r.GetJob())
		succeeded(t, st)
		// Three splits, each tried twice, and two partitions.
		if st.GetTasks() != 5 || st.GetAttempts() != 8 || st.GetRetries() != 3 || st.GetCounters()["records"] != 50 || st.GetRecordsIn() != 30 || st.GetRecordsOut() != 10 {
			t.Errorf("it is counted as %d tasks, %d attempts, %d retries, %v, %d records in, %d out", st.GetTasks(), st.GetAttempts(), st.GetRetries(), st.GetCounters(), st.GetRecordsIn(), st.GetRecordsOut())
		}
	}
	// A job that runs is cancelled, twice.
	w.mu.Lock()
	w.do = except(0)
	w.mu.Unlock()
	req := twoStages(t)
	req.IdempotencyKey = "c"
	r, err := cl.Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	w.await("the first stage", func() bool { return len(w.running) == 3 })
	if a, err := cl.CancelJob(t.Context(), &divisipb.CancelJobRequest{Job: r.GetJob()}); err != nil || a.GetState() != divisipb.JobState_JOB_STATE_CANCELED {
		t.Errorf("cancel: %v, %v", a, err)
	}
	if st := outcome(t, c, r.GetJob()); st.GetState() != divisipb.JobState_JOB_STATE_CANCELED {
		t.Errorf("it ended as %v", st)
	}
	jobs, err := cl.ListJobs(t.Context(), &divisipb.ListJobsRequest{})
	if err != nil || len(jobs.GetJobs()) != len(ids)+1 {
		t.Errorf("%d jobs, want %d: %v", len(jobs.GetJobs()), len(ids)+1, err)
	}
	if _, err := cl.DrainWorker(t.Context(), &divisipb.DrainWorkerRequest{Worker: "w1"}); err != nil {
		t.Error(err)
	}
}
