package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// noise is n bytes in which no shift or loss goes unseen.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func sealed(t *testing.T, fs *FS, owner, name string, data []byte) storage.Sealed {
	t.Helper()
	o, err := fs.Create(storage.WithOwner(t.Context(), owner), name)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		n := min(len(data), 1_000_003)
		if _, err := o.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	s, err := o.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func content(t *testing.T, fs *FS, name string, chunk int) []byte {
	t.Helper()
	f, err := fs.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&all}, struct{ io.Reader }{io.NewSectionReader(f, 0, f.Size())}, make([]byte, chunk)); err != nil {
		t.Fatal(err)
	}
	return all.Bytes()
}

// job is all that a job does with a bucket, each answer of which has to be right.
func job(t *testing.T, fs *FS, top string, size int) {
	t.Helper()
	ctx := t.Context()
	big, small, empty, lost := noise(1, size), noise(2, 1000), []byte{}, noise(3, size/2)
	names := []string{top + "/a-big", top + "/b-small", top + "/c-empty", top + "/d-lost", top + "/manifest"}
	var won []storage.Sealed
	for i, data := range [][]byte{big, small, empty} {
		won = append(won, sealed(t, fs, top, names[i], data))
	}
	loser, second := sealed(t, fs, top, names[0], lost), sealed(t, fs, top, names[3], lost)
	if err := fs.CreateIfAbsent(ctx, names[4], small); err != nil {
		t.Fatal(err)
	}
	if err := fs.CreateIfAbsent(ctx, names[4], small); !errors.Is(err, storage.ErrExist) {
		t.Fatalf("the second manifest: %v", err)
	}
	for range 2 {
		for _, s := range won {
			if err := fs.Publish(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
		if err := fs.Discard(ctx, loser); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := fs.Create(storage.WithOwner(ctx, top), names[1]) // never ended
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dead.Write(small); err != nil {
		t.Fatal(err)
	}
	if err := fs.Sweep(ctx, top, top); err != nil {
		t.Fatal(err)
	}
	for _, s := range []storage.Sealed{loser, second} {
		if err := fs.Publish(ctx, s); !errors.Is(err, storage.ErrGone) {
			t.Errorf("publish of a loser: %v", err)
		}
	}
	if _, err := dead.Seal(ctx); !errors.Is(err, storage.ErrGone) {
		t.Errorf("seal of what was swept: %v", err)
	}
	want := map[string][]byte{names[0]: big, names[1]: small, names[2]: empty, names[4]: small}
	n := 0
	for info, err := range fs.List(ctx, top) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, chunk := range []int{100_000, size} { // in blocks; past them
			if got := content(t, fs, info.Name, chunk); !bytes.Equal(got, want[info.Name]) {
				t.Errorf("%s has %d bytes that are not the %d written", info.Name, len(got), len(want[info.Name]))
			}
		}
	}
	if n != len(want) {
		t.Errorf("%d objects, want %d", n, len(want))
	}
	if info, err := fs.Stat(ctx, names[0]); err != nil || info.Size != int64(size) {
		t.Errorf("Stat: %+v, %v", info, err)
	}
	if err := fs.Remove(ctx, top); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, fs, top); len(got) > 0 {
		t.Errorf("after Remove: %q", got)
	}
}

func init() {
	// The client library waits this long after a failure, although it is told not to
	// try again. With hundreds of failures that adds up.
	minio.DefaultRetryUnit = time.Millisecond
}

// TestFaults has every first try of every request meet with one kind of accident,
// and then one request in four with any.
func TestFaults(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		set := quick()
		set.part, set.block = 5<<20, 1<<20
		run := func(name string, idle time.Duration, decide func(request) action, least map[action]int) {
			t.Run(name, func(t *testing.T) {
				p := newProxy(t, s.Endpoint, decide)
				set := set
				set.idle = idle
				fs := connect(t, p.server.URL, s, set)
				close(fs.alive) // the server is no wrong address
				fs.reached.Do(func() {})
				top := fmt.Sprintf("job-%d", time.Now().UnixNano())
				job(t, fs, top, 11<<20)
				p.mu.Lock()
				p.decide = func(request) action { return pass }
				for a, n := range least {
					if p.faults[a] < n {
						t.Errorf("%v happened only %d times", a, p.faults[a])
					}
				}
				p.mu.Unlock()
				nothingLeft(t, fs, top+"/a-big", top+"/b-small", top+"/c-empty", top+"/d-lost")
			})
		}
		for a := pass + 1; a < stall; a++ {
			run(a.String(), standard.idle, func(r request) action {
				if r.n == 1 {
					return a
				}
				return pass
			}, map[action]int{a: 50})
		}
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(4, 7))
		run("any", time.Second, func(r request) action {
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(4) > 0 || r.n > 8 {
				return pass
			}
			return action(random.IntN(int(stall)))
		}, map[action]int{slowDown: 1, doneReset: 1})
		if s.Name != "versitygw" {
			return // what is silent is the same everywhere
		}
		run(stall.String(), 250*time.Millisecond, func(r request) action {
			if r.all == 1 { // each takes the whole patience
				return stall
			}
			return pass
		}, map[action]int{stall: 9})
	})
}

// TestHedge has the first request for some bytes never answered: the second is.
func TestHedge(t *testing.T) {
	s := services.S3(t)
	p := newProxy(t, s.Endpoint, func(r request) action {
		if r.kind == "get" && r.n == 1 {
			return stall
		}
		return pass
	})
	set := quick()
	set.block, set.hedge, set.idle = 1000, time.Millisecond, time.Hour
	fs := connect(t, p.server.URL, s, set)
	data := noise(9, 1500)
	if err := fs.CreateIfAbsent(t.Context(), "hedged", data); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f, err := fs.Open(ctx, "hedged")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(data))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read: %v", err)
	}
	if n := p.faults[stall]; n != 2 {
		t.Errorf("%d requests hung, want one for each block", n)
	}
}

// TestHedgesAreFew counts how many reads may be asked for twice.
func TestHedgesAreFew(t *testing.T) {
	var p pace
	hedges := 0
	for range 1000 {
		p.took(time.Second)
		if p.hedge() {
			hedges++
		}
	}
	if hedges < 45 || hedges > 55 {
		t.Errorf("%d of 1,000 reads are asked for twice", hedges)
	}
	if d := p.patience(time.Millisecond); d != 4*time.Second {
		t.Errorf("patience is %v where reads take a second", d)
	}
}

// TestReadAhead counts requests of readers of several kinds.
func TestReadAhead(t *testing.T) {
	s := services.S3(t)
	p := newProxy(t, s.Endpoint, func(request) action { return pass })
	set := quick()
	set.block, set.hedge = 1000, time.Hour
	fs := connect(t, p.server.URL, s, set)
	data := noise(9, 50_000)
	if err := fs.CreateIfAbsent(t.Context(), "o", data); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		chunk, stride int
		least, most   int // requests
	}{
		{"in order", 100, 100, 50, 50},
		{"in order, all at once", 50_000, 50_000, 1, blocksAhead},
		{"backwards", 100, -100, 50, 50},
		{"here and there", 10, 7000, 8, 9}, // who begins at the front may go on
	} {
		f, err := fs.Open(t.Context(), "o")
		if err != nil {
			t.Fatal(err)
		}
		before := p.count("get")
		at := 0
		if c.stride < 0 {
			at = len(data) - c.chunk
		}
		for ; at >= 0 && at < len(data); at += c.stride {
			got := make([]byte, c.chunk)
			if n, err := f.ReadAt(got, int64(at)); !bytes.Equal(got[:n], data[at:at+n]) || err != nil && err != io.EOF {
				t.Fatalf("%s: at %d: %v", c.name, at, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if n := p.count("get") - before; n < c.least || n > c.most {
			t.Errorf("%s: %d requests, want %d to %d", c.name, n, c.least, c.most)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); err == nil {
			t.Errorf("%s: a closed file can be read", c.name)
		}
	}
}

// TestReplacedWhileRead: no reader gets bytes of two objects.
func TestReplacedWhileRead(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		set := quick()
		set.block = 1000
		fs := connect(t, s.Endpoint, s, set)
		if err := fs.Publish(t.Context(), sealed(t, fs, "", "o", noise(1, 9000))); err != nil {
			t.Fatal(err)
		}
		f, err := fs.Open(t.Context(), "o")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.ReadAt(make([]byte, 10), 0); err != nil {
			t.Fatal(err)
		}
		if err := fs.Publish(t.Context(), sealed(t, fs, "", "o", noise(2, 9000))); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(make([]byte, 10), 8500); err == nil || !bytes.Contains([]byte(err.Error()), []byte("replaced since")) {
			t.Errorf("got %v", err)
		}
		if err := fs.Remove(t.Context(), "o"); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(make([]byte, 10), 7500); err == nil || !bytes.Contains([]byte(err.Error()), []byte("removed since")) {
			t.Errorf("got %v", err)
		}
	})
}
