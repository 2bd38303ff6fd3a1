package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func sha(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// shelf serves artifacts and counts how often each is asked for.
type shelf struct {
	mu     sync.Mutex
	files  map[string][]byte
	served map[string]int
	broken func(n int) error // of the n-th request
	n      int
}

func (s *shelf) add(b []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files, s.served = map[string][]byte{}, map[string]int{}
	}
	s.files[sha(b)] = b
	return sha(b)
}

func (s *shelf) serve(r *pb.GetArtifactRequest, out pb.Control_GetArtifactServer) error {
	s.mu.Lock()
	b, ok := s.files[r.Sha256]
	s.served[r.Sha256]++
	s.n++
	n := s.n
	s.mu.Unlock()
	if !ok {
		return status.Error(codes.NotFound, "no such artifact")
	}
	for len(b) > 0 {
		c := b[:min(len(b), 256<<10)]
		if err := out.Send(&pb.Chunk{Data: c}); err != nil {
			return err
		}
		b = b[len(c):]
		if s.broken != nil {
			if err := s.broken(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// The job's own program and a shipped file are fetched, once for two jobs; a
// coordinator that goes in the middle is waited for.
func TestProgramAndFilesAreFetched(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	sh := &shelf{broken: func(n int) error {
		if n == 1 {
			return status.Error(codes.Unavailable, "going down")
		}
		return nil
	}}
	c := startWith(t, "a\nb\n", true, func(f *fakeCoordinator, _ *Config) { f.artifacts = sh.serve })
	binary, words := sh.add(program), sh.add([]byte(" and words"))
	for i, id := range []string{"shipped-1", "shipped-2"} {
		out := c.out + id
		c.tellJob("shipped", plan.Options{}, c.in, out)
		c.job.Id, c.job.BinarySha256, c.job.Files = id, binary, []*pb.ShippedFile{{Name: "words", Sha256: words}}
		c.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: c.job}})
		c.runAll()
		if got := strings.Join(lines(t, out), "|"); got != "a and words|b and words" {
			t.Errorf("the output is %q", got)
		}
		if i == 0 {
			info, err := os.Stat(filepath.Join(c.dir, "worker", "jobs", id, "program"))
			if err != nil || info.Mode().Perm() != 0o500 {
				t.Errorf("the program is kept as %v, %v", info, err)
			}
		}
		c.endJob(false)
	}
	if n := c.w.artifacts.fetched.Load(); n != int64(len(program)+2*len(" and words")) && n != int64(len(program)+len(" and words")) {
		t.Errorf("%d bytes are said to have come, of a program of %d", n, len(program))
	}
	if sh.served[binary] != 1 || sh.served[words] != 2 {
		t.Errorf("served: the program %d times, the file %d times, of which one failed", sh.served[binary], sh.served[words])
	}
}

func TestArtifactsAreChecked(t *testing.T) {
	sh := &shelf{}
	c := startWith(t, "a\n", true, func(f *fakeCoordinator, _ *Config) { f.artifacts = sh.serve })
	right := sh.add([]byte("#!/bin/sh\n"))
	sh.files[right] = []byte("something else")
	for want, name := range map[string]string{"has SHA-256": right, "no such artifact": sha([]byte("never uploaded")), "is no SHA-256": "../../etc/passwd"} {
		c.tellJob("wordcount", plan.Options{Partitions: 3}, c.in, c.out)
		c.job.Id, c.job.BinarySha256 = "bad-"+sha([]byte(name))[:8], name
		c.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: c.job}})
		_, f := c.run(c.control(pb.TaskKind_TASK_KIND_SPLITS))
		if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.Transient || f.KilledHost || !strings.Contains(f.Message, want) {
			t.Errorf("%s: %v", want, f)
		}
	}
	if left := files(t, filepath.Join(c.dir, "worker", "artifacts")); len(left) > 0 {
		t.Errorf("kept all the same: %v", left)
	}
}

// control is a coordinator that has one artifact and counts how often it is asked.
type control struct {
	pb.ControlClient
	data  []byte
	asked int
}

type chunks struct {
	grpc.ServerStreamingClient[pb.Chunk]
	data []byte
}

func (c *control) GetArtifact(context.Context, *pb.GetArtifactRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[pb.Chunk], error) {
	c.asked++
	return &chunks{data: c.data}, nil
}

func (c *chunks) Recv() (*pb.Chunk, error) {
	if len(c.data) == 0 {
		return nil, io.EOF
	}
	data := c.data
	c.data = nil
	return &pb.Chunk{Data: data}, nil
}

// What lies on the shelf whole is taken from there; else the coordinator is asked.
func TestShelf(t *testing.T) {
	right := []byte(strings.Repeat("program", 100_000))
	for _, on := range []struct {
		what  string
		data  []byte
		asked int
	}{{"the program", right, 0}, {"half of it", right[:350_000], 1}, {"another", make([]byte, len(right)), 1}, {"nothing", nil, 1}} {
		shelf, job := t.TempDir(), filepath.Join(t.TempDir(), "program")
		if on.data != nil {
			if err := os.WriteFile(filepath.Join(shelf, sha(right)), on.data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a, err := newArtifacts(t.TempDir(), shelf)
		if err != nil {
			t.Fatal(err)
		}
		c := &control{data: right}
		if err := a.link(t.Context(), c, sha(right), job); err != nil {
			t.Errorf("%s on the shelf: %v", on.what, err)
			continue
		}
		got, err := os.ReadFile(job)
		if err != nil || !bytes.Equal(got, right) {
			t.Errorf("%s on the shelf: the job has %d other bytes, %v", on.what, len(got), err)
		}
		if info, err := os.Stat(job); err == nil && info.Mode().Perm() != 0o500 {
			t.Errorf("%s on the shelf: the job's program has mode %s", on.what, info.Mode())
		}
		if c.asked != on.asked {
			t.Errorf("%s on the shelf: the coordinator was asked %d times, want %d", on.what, c.asked, on.asked)
		}
		if left := files(t, a.dir); len(left) != 1 {
			t.Errorf("%s on the shelf: left are %v", on.what, left)
		}
	}
}

// A file that the same user's coordinator has checked is not copied.
func TestShelfIsShared(t *testing.T) {
	right := []byte("program")
	for mode, shared := range map[os.FileMode]bool{0o500: true, 0o700: false, 0o400: false, 0o555: false} {
		shelf, job := t.TempDir(), filepath.Join(t.TempDir(), "program")
		on := filepath.Join(shelf, sha(right))
		if err := errors.Join(os.WriteFile(on, right, mode), os.Chmod(on, mode)); err != nil {
			t.Fatal(err)
		}
		a, err := newArtifacts(t.TempDir(), shelf)
		if err != nil {
			t.Fatal(err)
		}
		c := &control{}
		if err := a.link(t.Context(), c, sha(right), job); err != nil || c.asked != 0 {
			t.Errorf("mode %s: %v, the coordinator was asked %d times", mode, err, c.asked)
			continue
		}
		x, err1 := os.Stat(on)
		y, err2 := os.Stat(job)
		if err1 != nil || err2 != nil || os.SameFile(x, y) != shared || y.Mode() != checkedMode {
			t.Errorf("mode %s: the job's program is the shelf's file: %v, want %v; its mode is %s", mode, os.SameFile(x, y), shared, y.Mode())
		}
		if n := a.fetched.Load(); n != int64(len(right)) {
			t.Errorf("mode %s: %d bytes have come", mode, n)
		}
		// A link of somebody's to another file is nobody's word for what is in it.
		if err := errors.Join(os.Remove(on), os.Symlink(job, on)); err != nil {
			t.Fatal(err)
		}
		if a.share(sha(right), filepath.Join(t.TempDir(), "other")) {
			t.Errorf("mode %s: a link on the shelf is shared", mode)
		}
	}
}

func TestOldArtifactsGo(t *testing.T) {
	a, err := newArtifacts(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	a.max = 250
	var names []string
	for i := range 3 {
		name := sha([]byte{byte(i)})
		names = append(names, name)
		path := filepath.Join(a.dir, name)
		if err := os.WriteFile(path, make([]byte, 100), 0o500); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	// The first is used again, so the second is the oldest.
	mine := filepath.Join(t.TempDir(), "mine")
	if err := a.link(t.Context(), nil, names[0], mine); err != nil {
		t.Fatal(err)
	}
	if err := a.trim(names[2]); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		if _, err := os.Stat(filepath.Join(a.dir, names[i])); (err == nil) != want {
			t.Errorf("artifact %d is kept: %v, want %v", i, err == nil, want)
		}
	}
	// What a job has is its own.
	a.max = 0
	if err := a.trim(""); err != nil {
		t.Fatal(err)
	}
	if left := files(t, a.dir); len(left) != 0 || size(t, mine) != 100 {
		t.Errorf("left are %v", left)
	}
}
