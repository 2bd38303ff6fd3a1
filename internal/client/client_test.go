package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/internal/version"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// fake is a coordinator with scripted answers.
type fake struct {
	pb.UnimplementedClientServer
	protocol int32
	epoch    uint64
	stopped  chan struct{} // closed: it answers nothing, as if its process was stopped; nil: never
	standby  atomic.Bool   // it does not answer yet
	late     bool          // it says that the caller's time was up

	mu        sync.Mutex
	artifacts map[string][]byte
	jobs      []*pb.SubmitRequest
	asked     int     // calls of HasArtifacts
	refused   int     // jobs, for what was not uploaded
	watch     [][]any // per call: *pb.JobStatus, an error, or what to close when it stops; then the stream ends
}

func (f *fake) Hello(ctx context.Context, _ *pb.HelloRequest) (*pb.HelloReply, error) {
	select {
	case <-f.stopped:
		<-ctx.Done()
	default:
	}
	if f.standby.Load() {
		return nil, status.Error(codes.Unavailable, "not yet")
	}
	if f.late {
		return nil, status.Error(codes.DeadlineExceeded, "late")
	}
	return &pb.HelloReply{Protocol: f.protocol, Version: "v9", Slots: 3, Epoch: f.epoch}, nil
}

func (f *fake) HasArtifacts(_ context.Context, r *pb.HasArtifactsRequest) (*pb.HasArtifactsReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	out := &pb.HasArtifactsReply{}
	for _, s := range r.Sha256 {
		if _, ok := f.artifacts[s]; !ok {
			out.Missing = append(out.Missing, s)
		}
	}
	return out, nil
}

func (f *fake) PutArtifact(s grpc.ClientStreamingServer[pb.PutArtifactRequest, pb.PutArtifactReply]) error {
	var head *pb.ArtifactHeader
	var data []byte
	for {
		m, err := s.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if h := m.GetHeader(); h != nil {
			head = h
		}
		data = append(data, m.GetData()...)
	}
	sum := sha256.Sum256(data)
	if head.Size != int64(len(data)) || head.Sha256 != hex.EncodeToString(sum[:]) {
		return status.Error(codes.InvalidArgument, "the upload does not match its header")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, twice := f.artifacts[head.Sha256]; twice {
		return status.Error(codes.AlreadyExists, "uploaded twice")
	}
	f.artifacts[head.Sha256] = data
	return s.SendAndClose(&pb.PutArtifactReply{})
}

func (f *fake) Submit(_ context.Context, r *pb.SubmitRequest) (*pb.SubmitReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sha := range append(shas(r.Job.Files), r.Job.BinarySha256) {
		if _, ok := f.artifacts[sha]; !ok && sha != "" {
			f.refused++
			return nil, status.Error(codes.FailedPrecondition, "not uploaded: "+sha)
		}
	}
	f.jobs = append(f.jobs, r)
	return &pb.SubmitReply{Job: fmt.Sprintf("job%d", len(f.jobs))}, nil
}

func shas(files []*pb.ShippedFile) (all []string) {
	for _, f := range files {
		all = append(all, f.Sha256)
	}
	return all
}

func (f *fake) WatchJob(_ *pb.WatchJobRequest, s grpc.ServerStreamingServer[pb.JobStatus]) error {
	f.mu.Lock()
	if len(f.watch) == 0 {
		f.mu.Unlock()
		return status.Error(codes.NotFound, "no such job")
	}
	script := f.watch[0]
	f.watch = f.watch[1:]
	f.mu.Unlock()
	for _, x := range script {
		switch x := x.(type) {
		case chan struct{}:
			close(x)
			<-s.Context().Done()
			return s.Context().Err()
		case error:
			return x
		case *pb.JobStatus:
			if err := s.Send(x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fake) CancelJob(context.Context, *pb.CancelJobRequest) (*pb.CancelJobReply, error) {
	return nil, status.Error(codes.PermissionDenied, "the job is another's")
}

func serve(t *testing.T, f *fake) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if f.artifacts == nil {
		f.artifacts = map[string][]byte{}
	}
	if f.protocol == 0 {
		f.protocol = version.Protocol
	}
	s := grpc.NewServer()
	pb.RegisterClientServer(s, f)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

func dial(t *testing.T, f *fake) *Client {
	t.Helper()
	c, err := Dial(t.Context(), serve(t, f))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	_, err = Dial(t.Context(), nobody)
	var away *Unreachable
	if !errors.As(err, &away) || away.Addr != nobody || !strings.Contains(err.Error(), "divisi up") {
		t.Errorf("nobody there: %v", err)
	}
	_, err = Dial(t.Context(), serve(t, &fake{protocol: version.Protocol + 1}))
	var skew *VersionSkew
	if !errors.As(err, &skew) || skew.Want != version.Protocol+1 || skew.Have != version.Protocol || skew.Version != "v9" {
		t.Errorf("another version: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, nobody); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSubmitUploadsWhatIsMissing(t *testing.T) {
	f := &fake{}
	c := dial(t, f)
	dir := t.TempDir()
	sizes := map[string]int{"bin": 3*chunkBytes + 1, "empty": 0, "exact": chunkBytes, "same": chunkBytes}
	for name, n := range sizes {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	sub := Submission{Job: &pb.JobSpec{Name: "j"}, Binary: path("bin"), Files: []ShippedFile{
		{"a", path("empty")}, {"b", path("exact")}, {"c", path("same")},
	}}
	for range 2 { // the second time nothing is missing
		if _, err := c.Submit(t.Context(), sub); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused != 1 || f.asked != 1 {
		t.Errorf("asked %d times what is missing, after %d refusals", f.asked, f.refused)
	}
	if len(f.artifacts) != 3 { // "same" is "exact"
		t.Errorf("%d artifacts", len(f.artifacts))
	}
	got := f.jobs[1].Job
	if len(f.artifacts[got.BinarySha256]) != sizes["bin"] || len(got.Files) != 3 {
		t.Errorf("spec: %v", got)
	}
	for i, name := range []string{"empty", "exact", "same"} {
		if got.Files[i].Size != int64(sizes[name]) || len(f.artifacts[got.Files[i].Sha256]) != sizes[name] {
			t.Errorf("file %s: %v", name, got.Files[i])
		}
	}
	if k := f.jobs[0].IdempotencyKey; k == "" || k == f.jobs[1].IdempotencyKey {
		t.Errorf("key %q", k)
	}
}

func TestDescriptionRoundTrip(t *testing.T) {
	want := Submission{
		Job:   &pb.JobSpec{Name: "j", Args: []string{"a\tb", "\x00ü"}, Env: map[string]string{"A": "1"}, Plan: []byte{0, 1, 255}, MemoryBytes: 1 << 40},
		Files: []ShippedFile{{"n", "/p"}},
	}
	var b strings.Builder
	if err := want.Describe(&b); err != nil {
		t.Fatal(err)
	}
	got, err := ParseDescription([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got.Job, want.Job) || !slices.Equal(got.Files, want.Files) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"", "hello", `{"schema_version":2,"job":{}}`, `{"schema_version":1,"job":[]}`} {
		if _, err := ParseDescription([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestWatchOutlivesTheCoordinator(t *testing.T) {
	running := &pb.JobStatus{State: pb.JobState_JOB_STATE_RUNNING}
	done := &pb.JobStatus{State: pb.JobState_JOB_STATE_SUCCEEDED}
	away := status.Error(codes.Unavailable, "going down")
	f := &fake{watch: [][]any{{running, away}, {away}, {}, {running, running}, {running, done}}}
	c := dial(t, f)
	var states []pb.JobState
	for s, err := range c.Watch(t.Context(), "j") {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, s.State)
	}
	r, d := running.State, done.State
	if want := []pb.JobState{r, r, r, r, d}; !slices.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
}

// A coordinator that dies between a job's end and the end of its clearing up is waited
// for; when it stays away, or knows nothing of the job, the job has ended all the same.
func TestWatchOfAnEndedJob(t *testing.T) {
	ended := &pb.JobStatus{State: pb.JobState_JOB_STATE_SUCCEEDED}
	clean := &pb.JobStatus{State: pb.JobState_JOB_STATE_SUCCEEDED, Cleaned: true}
	away := status.Error(codes.Unavailable, "going down")
	c := dial(t, &fake{watch: [][]any{{ended, away}, {away}, {ended, clean}}})
	if st, err := c.Wait(t.Context(), "j"); err != nil || !st.GetCleaned() {
		t.Errorf("after a restart: %v, %v", st, err)
	}
	for name, then := range map[string][][]any{"it stays away": {{ended, away}, {away}}, "it has forgotten the job": {{ended, away}}} {
		c := dial(t, &fake{watch: then})
		c.away = 0
		if st, err := c.Wait(t.Context(), "j"); err != nil || st.GetState() != ended.State {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}

// The outcome of a job is told without the end of its clearing up when that turns out not
// to be possible yet, or takes long; a job that succeeded is waited for.
func TestWaitOutcome(t *testing.T) {
	running, failed, done := pb.JobState_JOB_STATE_RUNNING, pb.JobState_JOB_STATE_FAILED, pb.JobState_JOB_STATE_SUCCEEDED
	for name, c := range map[string]struct {
		script   []any
		patience time.Duration
		want     *pb.JobStatus
	}{
		"it cannot be cleaned": {[]any{&pb.JobStatus{State: running}, &pb.JobStatus{State: failed}, &pb.JobStatus{State: failed, Left: "out"}, make(chan struct{})}, time.Hour,
			&pb.JobStatus{State: failed, Left: "out"}},
		"it takes long":    {[]any{&pb.JobStatus{State: running}, &pb.JobStatus{State: failed}, make(chan struct{})}, time.Millisecond, &pb.JobStatus{State: failed}},
		"it is cleaned":    {[]any{&pb.JobStatus{State: failed}, &pb.JobStatus{State: failed, Cleaned: true}}, time.Hour, &pb.JobStatus{State: failed, Cleaned: true}},
		"it has succeeded": {[]any{&pb.JobStatus{State: done}, &pb.JobStatus{State: done, Cleaned: true}}, 0, &pb.JobStatus{State: done, Cleaned: true}},
	} {
		cl := dial(t, &fake{watch: [][]any{c.script}})
		cl.Patience = c.patience
		if st, err := cl.WaitOutcome(t.Context(), "j"); err != nil || !proto.Equal(st, c.want) {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}

func TestWatchEnds(t *testing.T) {
	running := &pb.JobStatus{State: pb.JobState_JOB_STATE_RUNNING}
	f := &fake{watch: [][]any{{running, running}}}
	c := dial(t, f)
	if _, err := c.Wait(t.Context(), "none"); err == nil || !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown job after the stream broke: %v", err)
	}
	f.mu.Lock()
	f.watch = [][]any{{running}}
	f.mu.Unlock()
	for range c.Watch(t.Context(), "j") {
		break // leaving early is fine
	}
	c.away = 0
	f.mu.Lock()
	f.watch = [][]any{{status.Error(codes.Unavailable, "gone")}}
	f.mu.Unlock()
	var un *Unreachable
	if _, err := c.Wait(t.Context(), "j"); !errors.As(err, &un) {
		t.Errorf("a coordinator that stays away: %v", err)
	}
	c.away = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Wait(ctx, "j"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestErrorsAreNamed(t *testing.T) {
	c := dial(t, &fake{})
	_, err := c.Cancel(t.Context(), "j", "")
	if !errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), "the job is another's") || strings.Contains(err.Error(), "rpc error") {
		t.Errorf("not allowed: %v", err)
	}
	var un *Unreachable
	if _, err := c.Workers(t.Context()); !errors.As(err, &un) {
		t.Errorf("a coordinator without the method: %v", err)
	}
}
