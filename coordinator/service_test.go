package coordinator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/proto/divisipb"
)

func upload(t *testing.T, c *Coordinator, sha string, size int64, chunks ...[]byte) error {
	t.Helper()
	s, err := client(t, c).PutArtifact(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *divisipb.PutArtifactRequest) {
		_ = s.Send(m) // the reason comes with the answer
	}
	send(&divisipb.PutArtifactRequest{Body: &divisipb.PutArtifactRequest_Header{Header: &divisipb.ArtifactHeader{Sha256: sha, Size: size}}})
	for _, c := range chunks {
		send(&divisipb.PutArtifactRequest{Body: &divisipb.PutArtifactRequest_Data{Data: c}})
	}
	_, err = s.CloseAndRecv()
	return err
}

func TestArtifacts(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir)
	data := bytes.Repeat([]byte("divisi"), 200_000)
	h := sha256.Sum256(data)
	sha := hex.EncodeToString(h[:])

	for _, bad := range []struct {
		sha  string
		size int64
	}{{sha, int64(len(data)) - 1}, {sha, int64(len(data)) + 1}, {strings.Repeat("0", 64), int64(len(data))}, {"../../etc/passwd", 1}, {strings.ToUpper(sha), int64(len(data))}, {sha, artifactBytesMax + 1}} {
		if err := upload(t, c, bad.sha, bad.size, data); status.Code(err) != codes.InvalidArgument {
			t.Errorf("upload as %s of %d bytes: %v", bad.sha, bad.size, err)
		}
	}
	req := twoStages(t)
	req.Job.BinarySha256 = sha
	if _, err := client(t, c).Submit(t.Context(), req); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "the binary") {
		t.Errorf("submit without the binary: %v", err)
	}
	var wg sync.WaitGroup
	for range 4 { // the same one at a time
		wg.Go(func() {
			if err := upload(t, c, sha, int64(len(data)), data[:1000], data[1000:]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Join(dir, "artifacts"))
	if err != nil || len(entries) != 1 || entries[0].Name() != sha {
		t.Errorf("folder holds %v, %v", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != 0o500 {
		t.Errorf("workers cannot share it: %v, %v", info, err)
	}
	has, err := client(t, c).HasArtifacts(t.Context(), &divisipb.HasArtifactsRequest{Sha256: []string{sha, strings.Repeat("1", 64)}})
	if err != nil || !slices.Equal(has.GetMissing(), []string{strings.Repeat("1", 64)}) {
		t.Errorf("missing: %v, %v", has, err)
	}
	if _, err := client(t, c).Submit(t.Context(), req); err != nil {
		t.Error(err)
	}
	get, err := divisipb.NewControlClient(dial(t, c.Addr())).GetArtifact(t.Context(), &divisipb.GetArtifactRequest{Sha256: sha})
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for {
		m, err := get.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.GetData()...)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back", len(got))
	}
}

func get(t *testing.T, c *Coordinator, method, path, host string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.HTTPAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestHTTP(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 2)
	w.do = succeed
	w.attach(c)
	id := submit(t, c)
	outcome(t, c, id)
	for _, x := range []struct {
		method, path, host string
		code               int
		want               []string
	}{
		{"GET", "/healthz", "", 200, []string{"ok"}},
		{"GET", "/readyz", "", 200, []string{"ready"}},
		{"HEAD", "/healthz", "", 200, nil},
		{"POST", "/api/v1/jobs", "", 405, nil},
		{"GET", "/healthz", "evil.example", 421, []string{"loopback"}},
		{"GET", "/healthz", "localhost:99", 200, nil},
		{"GET", "/api/v1/jobs", "", 200, []string{id, `"schema": 1`, `"state": "succeeded"`, `"records_in": 30`}},
		{"GET", "/api/v1/jobs?state=active", "", 200, []string{`"jobs": []`}},
		{"GET", "/api/v1/jobs?state=sleeping", "", 400, []string{"no job state"}},
		{"GET", "/api/v1/jobs/" + id[:14], "", 200, []string{`"stages": [`, `"name": "read"`}},
		{"GET", "/api/v1/jobs/nothing", "", 404, []string{"no job"}},
		{"GET", "/api/v1/jobs/" + id + "/events", "", 200, []string{`"type": "task-done"`, `"type": "succeeded"`, `"type": "cleaned"`}},
		{"GET", "/api/v1/workers", "", 200, []string{`"id": "w1"`, `"slots": 2`, `"state": "ready"`}},
		{"GET", "/metrics", "", 200, []string{"divisi_slots 2", `divisi_jobs{state="succeeded"} 1`, "divisi_tasks_won_total 5", `divisi_workers{state="ready"} 1`}},
		{"GET", "/", "", 200, []string{id}},
	} {
		code, body := get(t, c, x.method, x.path, x.host)
		if code != x.code {
			t.Errorf("%s %s at %q: %d, want %d: %s", x.method, x.path, x.host, code, x.code, body)
		}
		for _, want := range x.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s %s lacks %q:\n%s", x.method, x.path, want, body)
			}
		}
		if x.path == "/metrics" && strings.Contains(body, id) {
			t.Error("a metric names a job")
		}
		if strings.HasPrefix(x.path, "/api") && x.code == 200 && !json.Valid([]byte(body)) {
			t.Errorf("%s: no JSON", x.path)
		}
	}
}

type exchangeStub struct {
	divisipb.UnimplementedExchangeServer
}

func (exchangeStub) ReadLog(r *divisipb.ReadLogRequest, s divisipb.Exchange_ReadLogServer) error {
	return s.Send(&divisipb.Chunk{Data: fmt.Appendf(nil, "log of %d/%d.%d\n", r.GetTask().GetStage(), r.GetTask().GetIndex(), r.GetTask().GetAttempt())})
}

// TestLogs: from a worker that is there; of one that is gone the end that came with the
// failure, or that it is gone.
func TestLogs(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.WaitForHandlers(true))
	divisipb.RegisterExchangeServer(srv, exchangeStub{})
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(lis) }()
	t.Cleanup(func() { srv.Stop(); <-served })

	c := start(t, t.TempDir(), func(cfg *Config) { cfg.Reattach = 1e6 })
	bad, good := newFake(t, "bad", 1), newFake(t, "good", 4)
	bad.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		if s.GetKind() != divisipb.TaskKind_TASK_KIND_RUN {
			return succeed(s)
		}
		return &divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: &divisipb.TaskFailure{Id: s.GetId(), ErrorKind: 2, Message: "broken", LogTail: "the last words"}}}
	}
	bad.attach(c)
	id := submit(t, c)
	bad.await("a failure's ack", func() bool { return len(bad.acked) >= 3 })
	good.do = succeed
	good.reg.ExchangeAddress = lis.Addr().String()
	good.attach(c)
	bad.detach()
	succeeded(t, outcome(t, c, id))

	s, err := client(t, c).Logs(t.Context(), &divisipb.LogsRequest{Job: id, Stage: 0, Index: -1, Attempt: -1})
	if err != nil {
		t.Fatal(err)
	}
	var logs, tails int
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.GetWorker() == "good" && string(m.GetData()) == fmt.Sprintf("log of 0/%d.%d\n", m.GetTask().GetIndex(), m.GetTask().GetAttempt()):
			logs++
		case m.GetWorker() == "bad" && string(m.GetData()) == "the last words" && strings.Contains(m.GetGone(), "worker bad is gone"):
			tails++
		case m.GetWorker() == "bad" && len(m.GetData()) == 0 && m.GetGone() == "worker bad is gone": // it was lost with the worker
		default:
			t.Errorf("%v", m)
		}
	}
	if logs != 3 || tails == 0 {
		t.Errorf("%d logs, %d tails", logs, tails)
	}
}

// TestEventsAndArchive: events in order, again after restarts, when only the summary of
// an ended job is left.
func TestEventsAndArchive(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir)
	w := newFake(t, "w1", 2)
	w.do = succeed
	w.attach(c)
	id := submit(t, c)
	before := outcome(t, c, id)
	events := func(c *Coordinator) []string {
		s, err := client(t, c).Events(t.Context(), &divisipb.EventsRequest{Job: id, Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for {
			e, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%d %s %s", e.GetSequence(), e.GetType(), e.GetText()))
		}
	}
	live := events(c)
	if !strings.Contains(live[0], "submitted by ann") || !strings.HasSuffix(live[len(live)-1], "nothing of the job is left on workers") {
		t.Errorf("events:\n%s", strings.Join(live, "\n"))
	}
	for range 2 {
		c.Close()
		c = start(t, dir)
		if again := events(c); !slices.Equal(live, again) {
			t.Fatalf("after a restart:\n%s\nbefore:\n%s", strings.Join(again, "\n"), strings.Join(live, "\n"))
		}
		st, err := client(t, c).GetJob(t.Context(), &divisipb.GetJobRequest{Job: id, Plan: true})
		if err != nil {
			t.Fatal(err)
		}
		succeeded(t, st)
		if len(st.GetPlan()) == 0 || len(st.GetStages()) != 2 || st.GetEndedUnixNanos() != before.GetEndedUnixNanos() {
			t.Errorf("status after a restart: %v\nbefore: %v", st, before)
		}
	}
	r, err := client(t, c).RetryJob(t.Context(), &divisipb.RetryJobRequest{Job: id})
	if err != nil || r.GetJob() == id {
		t.Errorf("retry: %v, %v", r, err)
	}
}

// TestJournalDeath lets the journal fail for good at each of its steps in a job's life:
// nothing is acknowledged that the next coordinator does not know, and it ends the job.
func TestJournalDeath(t *testing.T) {
	errDead := errors.New("dead")
	died := 0
	for die := 5; die < 60; die += 6 {
		dir := t.TempDir()
		steps := 0
		c := start(t, dir)
		c.Close()
		cfg := Config{Listen: "127.0.0.1:0", State: dir, Heartbeat: 50e6, Hook: func(string) error {
			if steps++; steps >= die {
				return errDead
			}
			return nil
		}}
		c, err := Start(context.Background(), cfg)
		if err != nil {
			if !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			continue
		}
		w := newFake(t, "w1", 2)
		w.do = succeed
		attached := w.tryAttach(c) == nil
		req := twoStages(t)
		req.IdempotencyKey = "k"
		r, err := client(t, c).Submit(t.Context(), req)
		if err == nil && attached { // until the journal dies, or the job has ended before
			if watch, err := client(t, c).WatchJob(t.Context(), &divisipb.WatchJobRequest{Job: r.GetJob()}); err == nil {
				for err == nil {
					_, err = watch.Recv()
				}
			}
		}
		if werr := c.Close(); werr != nil && !errors.Is(werr, errDead) {
			t.Errorf("step %d: the coordinator ended with %v", die, werr)
		} else if werr != nil {
			died++
		}
		next := start(t, dir)
		again, err2 := client(t, next).Submit(t.Context(), req)
		if err2 != nil {
			t.Fatal(err2)
		}
		if err == nil && (again.GetJob() != r.GetJob() || !again.GetExisted()) {
			t.Errorf("step %d: an acknowledged job is unknown", die)
		}
		if attached {
			w.reregister()
		}
		if err := w.tryAttach(next); err != nil {
			t.Fatal(err)
		}
		succeeded(t, outcome(t, next, again.GetJob()))
		next.Close()
	}
	if died < 4 {
		t.Errorf("only %d deaths", died)
	}
}
