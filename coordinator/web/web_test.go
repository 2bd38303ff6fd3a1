package web

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type fakeReader struct {
	mu   sync.Mutex
	jobs []*pb.JobStatus
}

func (f *fakeReader) Cluster() string { return "test" }
func (f *fakeReader) Jobs() []*pb.JobStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jobs
}
func (f *fakeReader) Job(id string) (*pb.JobStatus, bool) {
	for _, j := range f.Jobs() {
		if j.Id == id {
			return j, true
		}
	}
	return nil, false
}
func (f *fakeReader) Events(job string, last int) []*pb.Event {
	return []*pb.Event{{Sequence: 1, Job: job, Type: "task-done", Text: "stage 0 task 1 <won>"}}
}
func (f *fakeReader) Workers() []*pb.WorkerStatus {
	return []*pb.WorkerStatus{{Id: "w1", Host: "h1", State: "ready", Slots: 4, Running: 2, MemoryBytes: 1 << 30}}
}

// hostile holds what a job's name or error may contain to do harm.
const hostile = "<script>alert(1)</script>\x1b[31m\u202eevil\n"

func start(t *testing.T) (*fakeReader, *httptest.Server) {
	t.Helper()
	f := &fakeReader{jobs: []*pb.JobStatus{{
		Id: "wordcount-1", Name: hostile, Owner: hostile, State: pb.JobState_JOB_STATE_FAILED, Error: hostile,
		SubmittedUnixNanos: 1e9, EndedUnixNanos: 3.5e9,
		Stages:   []*pb.StageStatus{{Id: 0, Name: "FlatMap+" + hostile, State: "running", Tasks: 8, Done: 2, Fraction: 0.25, Stats: &pb.TaskStats{RowsIn: 1234567}}},
		Counters: map[string]int64{hostile: 42},
		Stats:    &pb.TaskStats{BytesIn: 3 << 30},
	}}}
	h, err := New(f, func() time.Time { return time.Unix(100, 0) })
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return f, s
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String(), resp.Header
}

func TestPages(t *testing.T) {
	_, s := start(t)
	for path, want := range map[string][]string{
		"/":                 {"wordcount-1", "failed", "3.0 GiB", "2.5s", "2 of 4 slots"},
		"/jobs/wordcount-1": {"2 / 8", "25 %", "1\u202f234\u202f567", "42", "task-done", "&lt;won&gt;"},
		"/workers":          {"w1", "h1", "ready", "1.0 GiB"},
		"/static/live.js":   {"EventSource"},
		"/static/style.css": {"prefers-color-scheme"},
	} {
		code, body, header := get(t, s.URL+path)
		if code != http.StatusOK {
			t.Errorf("%s: status %d: %s", path, code, body)
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s does not show %q:\n%s", path, w, body)
			}
		}
		if strings.Contains(body, "<script>alert") || strings.ContainsAny(body, "\x1b\u202e") {
			t.Errorf("%s lets a hostile name through", path)
		}
		if !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s has no content security policy", path)
		}
	}
}

func TestRefuses(t *testing.T) {
	_, s := start(t)
	if code, body, _ := get(t, s.URL+"/jobs/other"); code != http.StatusNotFound || !strings.Contains(body, "no such job") {
		t.Errorf("an unknown job: %d %s", code, body)
	}
	if code, _, _ := get(t, s.URL+"/elsewhere"); code != http.StatusNotFound {
		t.Errorf("an unknown page: %d", code)
	}
	for _, path := range []string{"/", "/jobs/wordcount-1", "/workers"} {
		resp, err := http.Post(s.URL+path, "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, resp.StatusCode)
		}
	}
}

func TestLiveSendsWhatChanged(t *testing.T) {
	f, s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/?live", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the stream ended without %q: %v", want, lines.Err())
	}
	until("wordcount-1")
	f.mu.Lock()
	f.jobs = append([]*pb.JobStatus{{Id: fmt.Sprint("another-", 2), State: pb.JobState_JOB_STATE_RUNNING}}, f.jobs...)
	f.mu.Unlock()
	until("another-2")
}
