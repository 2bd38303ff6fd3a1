package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/client"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// The numbers are a contract with scripts.
func TestExitCodes(t *testing.T) {
	job := func(s pb.JobState) error { return Outcome(&pb.JobStatus{Id: "j", State: s, Error: "why"}) }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{job(pb.JobState_JOB_STATE_FAILED), 1},
		{job(pb.JobState_JOB_STATE_RUNNING), 1},
		{job(pb.JobState_JOB_STATE_SUCCEEDED), 0},
		{Exitf(Usage, "x"), 2},
		{job(pb.JobState_JOB_STATE_CANCELED), 3},
		{fmt.Errorf("x: %w", context.Canceled), 3},
		{fmt.Errorf("x: %w", client.ErrNotAllowed), 4},
		{fmt.Errorf("x: %w", &client.Unreachable{Addr: "a", Err: errors.New("y")}), 5},
		{&client.VersionSkew{}, 5},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 6},
		{errors.Join(Exitf(CheckFailed, "x"), errors.New("y")), 7},
	} {
		if got := Code(c.err); got != c.want {
			t.Errorf("%v exits %d, want %d", c.err, got, c.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "17": 17, "1k": 1024, "256MiB": 256 << 20, "2GiB": 2 << 30, "1.5 gb": 15e8, "512m": 512 << 20, "3B": 3, " 1TiB ": 1 << 40,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q is %d (%v), want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "-1", "1XB", "nan", "1e30", "MiB"} {
		if n, err := ParseSize(bad); err == nil {
			t.Errorf("%q is %d", bad, n)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 10000: "10 kB", 999600: "1.0 MB", 105e6: "105 MB", 2e18: "2.0 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d bytes print as %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", -100: "-100"} {
		if got := Count(n); got != want {
			t.Errorf("%d prints as %q, want %q", n, got, want)
		}
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"cluster", "partitions", "parallelism", "mode", "tmp"}
	for got, want := range map[string]string{"paralelism": "parallelism", "clutser": "cluster", "moed": "mode", "xyz": "", "": "", "zzzzzzzzzzzz": ""} {
		if s := Suggest(got, names); s != want {
			t.Errorf("for %q: %q, want %q", got, s, want)
		}
	}
}

// The fields are a contract with scripts.
func TestSummaryFields(t *testing.T) {
	s := Summarize(&pb.JobStatus{
		Id: "j", State: pb.JobState_JOB_STATE_SUCCEEDED, SubmittedUnixNanos: 1e9, EndedUnixNanos: 25e8,
		Stages: []*pb.StageStatus{{}, {}}, Tasks: 3, Attempts: 4, Retries: 1, RecordsIn: 5, RecordsOut: 6,
		Stats: &pb.TaskStats{BytesIn: 107, BytesFetchedLocal: 60, BytesFetchedRemote: 40, BytesOut: 8, BytesShuffled: 9, BytesSpilled: 10, PeakMemoryBytes: 11},
	})
	var b strings.Builder
	if err := s.Print(&b, true); err != nil {
		t.Fatal(err)
	}
	want := `{"job":"j","state":"succeeded","seconds":1.5,"stages":2,"tasks":3,"attempts":4,"retries":1,"records_in":5,"records_out":6,` +
		`"bytes_in":7,"bytes_out":8,"bytes_shuffled":9,"bytes_spilled":10,"peak_memory_bytes":11,"counters":{}}` + "\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b.String(), want)
	}
	if !json.Valid([]byte(b.String())) || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("not one line of JSON: %q", b.String())
	}
	b.Reset()
	s.Print(&b, false)
	if strings.Count(b.String(), "\n") != 1 || !strings.Contains(b.String(), "succeeded in 1.5 s") {
		t.Errorf("table: %q", b.String())
	}
}

func TestPlainProgress(t *testing.T) {
	var b bytes.Buffer
	now := time.Unix(0, 0)
	p, err := NewProgress(&b, ProgressAuto) // no terminal
	if err != nil {
		t.Fatal(err)
	}
	p.now, p.begin = func() time.Time { return now }, now
	stage := &pb.StageStatus{Name: "Read+Count", State: "running", Tasks: 4}
	s := &pb.JobStatus{Name: "w\x1b[31m", State: pb.JobState_JOB_STATE_RUNNING, Stages: []*pb.StageStatus{stage, {Name: "Write", State: "waiting"}}}
	for i := range 25 { // half a second each
		now = now.Add(500 * time.Millisecond)
		stage.Done = int32(i / 8)
		stage.Fraction = float64(i) / 25
		p.Show(s)
	}
	stage.State, s.State = "done", pb.JobState_JOB_STATE_SUCCEEDED
	p.Show(s)
	p.End()
	want := "" +
		"   0.5 s  w\ufffd[31m  running   0%  stage 1/2 Read+Count 0/4 tasks\n" +
		"  10.5 s  w\ufffd[31m  running  40%  stage 1/2 Read+Count 2/4 tasks\n" +
		"  12.5 s  w\ufffd[31m  succeeded 100%\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestBarStaysOnALine(t *testing.T) {
	var b bytes.Buffer
	p, err := NewProgress(&b, ProgressBar)
	if err != nil {
		t.Fatal(err)
	}
	p.width = 40
	s := &pb.JobStatus{Name: strings.Repeat("é", 100), State: pb.JobState_JOB_STATE_RUNNING}
	p.Show(s)
	p.Note("between")
	p.Show(s)
	p.End()
	for line := range strings.SplitSeq(b.String(), "\n") {
		if n := len([]rune(strings.TrimPrefix(line, "\r\x1b[2K"))); n > 39 {
			t.Errorf("%d characters: %q", n, line)
		}
	}
	if !strings.Contains(b.String(), "\nbetween\n") {
		t.Errorf("the note is not on a line of its own: %q", b.String())
	}
	if _, err := NewProgress(&b, "loud"); Code(err) != Usage {
		t.Errorf("mode loud: %v", err)
	}
}
