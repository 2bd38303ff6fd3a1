package exchange

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A copy is the same two files; what cannot be had whole leaves nothing.
func TestCopy(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for index, rows := range []int{20_000, 1, 0} {
		l := produce(t, from, index, 0, rows)
		l.Address = serve(t, &Server{Dir: from})
		f := fetcher(t, FetcherConfig{Own: "elsewhere"})
		for range 2 { // asked for twice it is there already
			n, err := f.Copy(t.Context(), l, ShuffleDir(to, job))
			if err != nil {
				t.Fatal(err)
			}
			for _, half := range []func(string) string{shuffle.DataPath, shuffle.IndexPath} {
				want, err := os.ReadFile(half(output(from, l)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(half(output(to, l)))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d rows: %s has %d bytes, the original %d, %v", rows, half("copy"), len(got), len(want), err)
				}
				if half("") == ".data" && n != int64(len(want)) {
					t.Errorf("%d bytes were copied, the file has %d", n, len(want))
				}
			}
		}
	}
}

// An output that is kept in memory is served, to its own tasks and to others, and copied
// as files are; when it is gone it is lost.
func TestKeptOutputsAreServed(t *testing.T) {
	from, to, kept := t.TempDir(), t.TempDir(), t.TempDir()
	want := produce(t, from, 0, 5, 30)
	l := produceAs(t, kept, 0, 5, 30, shuffle.Options{Keep: true})
	if left, err := os.ReadDir(ShuffleDir(kept, job)); err != nil || len(left) > 0 {
		t.Fatalf("%d files, %v", len(left), err)
	}
	own := fetcher(t, FetcherConfig{Own: "here", Dir: ShuffleDir(from, job)})
	want.Address = "here"
	l.Address = serve(t, &Server{Dir: kept})
	other := fetcher(t, FetcherConfig{Own: "elsewhere"})
	itself := fetcher(t, FetcherConfig{Own: l.Address, Dir: ShuffleDir(kept, job)})
	for p := range partitions {
		expected, err := read(t, own, want, p, p+1)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []*Fetcher{other, itself} {
			if got, err := read(t, f, l, p, p+1); err != nil || !bytes.Equal(got, expected) {
				t.Errorf("partition %d has %d bytes, want %d, %v", p, len(got), len(expected), err)
			}
		}
	}
	if _, err := other.Copy(t.Context(), l, ShuffleDir(to, job)); err != nil {
		t.Fatal(err)
	}
	for _, half := range []func(string) string{shuffle.DataPath, shuffle.IndexPath} {
		copied, err := os.ReadFile(half(output(to, l)))
		if err != nil {
			t.Fatal(err)
		}
		if stored, err := os.ReadFile(half(output(from, want))); err != nil || !bytes.Equal(copied, stored) {
			t.Errorf("%s has %d bytes, want %d, %v", half("copy"), len(copied), len(stored), err)
		}
	}
	shuffle.Forget(kept)
	_, err := read(t, other, l, 0, 1)
	wantLost(t, err, "")
	_, err = read(t, itself, l, 0, 1)
	if dataflow.KindOf(err) != dataflow.InputLost {
		t.Errorf("forgotten: %v", err)
	}
}

// cut serves a copy with its last chunk missing, and then some bytes changed.
type cut struct {
	pb.UnimplementedExchangeServer
	server  *Server
	damaged bool
}

type recorder struct {
	pb.Exchange_CopyServer
	all []*pb.CopyChunk
}

func (r *recorder) Send(m *pb.CopyChunk) error {
	r.all = append(r.all, &pb.CopyChunk{Index: bytes.Clone(m.Index), Data: bytes.Clone(m.Data), DataBytes: m.DataBytes})
	return nil
}

func (c *cut) Copy(r *pb.CopyRequest, out pb.Exchange_CopyServer) error {
	rec := &recorder{Exchange_CopyServer: out}
	if err := c.server.Copy(r, rec); err != nil {
		return err
	}
	if c.damaged {
		rec.all[0].Index[20] ^= 1
	} else {
		rec.all = rec.all[:len(rec.all)-1]
	}
	for _, m := range rec.all {
		if err := out.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func TestCopyFails(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	l := produce(t, from, 0, 0, 5_000)
	good := &Server{Dir: from}
	f := fetcher(t, FetcherConfig{Own: "elsewhere"})
	l.Address = serve(t, good)
	gone := l
	gone.Task.Index = 7
	if _, err := f.Copy(t.Context(), gone, ShuffleDir(to, job)); dataflow.KindOf(err) != dataflow.InputLost {
		t.Errorf("an output that is not there: %v", err)
	}
	for what, s := range map[string]*cut{"cut short": {server: good}, "damaged": {server: good, damaged: true}} {
		bad := l
		bad.Address = serve(t, s)
		if _, err := f.Copy(t.Context(), bad, ShuffleDir(to, job)); err == nil {
			t.Errorf("a copy that is %s passes", what)
		}
	}
	if left, err := filepath.Glob(filepath.Join(ShuffleDir(to, job), "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	bad := good.Copy(&pb.CopyRequest{Task: &pb.TaskID{Job: "../x"}}, nil)
	if status.Code(bad) != codes.InvalidArgument {
		t.Errorf("a path for a job: %v", bad)
	}
}
