package exchange

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

func keep(t *testing.T, dir, attempt, lines string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o700), KeepQuiet(dir, attempt, []byte(lines))); err != nil {
		t.Fatal(err)
	}
}

func TestQuietLines(t *testing.T) {
	dir := t.TempDir()
	if lines, err := quietLines(dir, "0-1.0"); lines != nil || err != nil {
		t.Errorf("of no file: %q, %v", lines, err)
	}
	keep(t, dir, "0-1.0", "0-2.0 is no name here\nb\n")
	keep(t, dir, "0-1.01", "x\n")
	keep(t, dir, "-2-0.1", "c\n")
	keep(t, dir, "0-3.0", "last\nline")
	for attempt, want := range map[string]string{
		"0-1.0": "0-2.0 is no name here\nb\n", "0-1.01": "x\n", "-2-0.1": "c\n", "0-3.0": "last\nline",
		"0-2.0": "", "2-0.1": "", "0-1.": "", "0-1": "", "": "",
	} {
		if got, err := quietLines(dir, attempt); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", attempt, got, err, want)
		}
	}
}

func TestLogOfAQuietAttempt(t *testing.T) {
	dir := t.TempDir()
	keep(t, LogDir(dir, job), "2-7.107", "begins\nends\n")
	var asked atomic.Int64
	s := &Server{Dir: dir, Live: func(id *pb.TaskID) bool {
		switch id.Index {
		case 8: // it ends while it is followed, and says so then
			if asked.Add(1) == 2 {
				keep(t, LogDir(dir, job), "2-8.0", "late\n")
			}
			return asked.Load() < 2
		case 9: // it lives, and has said nothing
			return true
		}
		return false
	}}
	c := client(t, serve(t, s))
	seven := &pb.TaskID{Job: job, Stage: 2, Index: 7, Attempt: 107}
	for _, r := range []struct {
		req  *pb.ReadLogRequest
		want string
	}{
		{&pb.ReadLogRequest{Task: seven}, "begins\nends\n"},
		{&pb.ReadLogRequest{Task: seven, Follow: true}, "begins\nends\n"},
		{&pb.ReadLogRequest{Task: seven, Offset: 7}, "ends\n"},
		{&pb.ReadLogRequest{Task: seven, Offset: -5}, "ends\n"},
		{&pb.ReadLogRequest{Task: seven, Offset: -500}, "begins\nends\n"},
		{&pb.ReadLogRequest{Task: seven, Offset: 500}, ""},
		{&pb.ReadLogRequest{Task: &pb.TaskID{Job: job, Stage: 2, Index: 8}, Follow: true}, "late\n"},
		{&pb.ReadLogRequest{Task: &pb.TaskID{Job: job, Stage: 2, Index: 9}}, ""},
	} {
		if got, err := log(t, c, r.req); got != r.want || err != nil {
			t.Errorf("%v: %q, %v, want %q", r.req, got, err, r.want)
		}
	}
	if got, err := log(t, c, &pb.ReadLogRequest{Task: &pb.TaskID{Job: job, Stage: 2, Index: 10}}); err == nil {
		t.Errorf("of an attempt that was not here: %q", got)
	}
	if err := os.Remove(filepath.Join(LogDir(dir, job), quietLog)); err != nil {
		t.Error(err)
	}
}
