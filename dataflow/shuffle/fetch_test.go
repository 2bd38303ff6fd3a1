package shuffle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block/blocktest"
	"github.com/divisi-data/divisi/internal/race"
)

// Next and Close let tests use a list of batches as a stream, which owns them.
func (s *batches) Next(context.Context) (dataflow.Batch, error) {
	if len(s.all) == 0 {
		return nil, io.EOF
	}
	b := s.all[0]
	s.all = s.all[1:]
	return b, nil
}

func (s *batches) Close() error {
	release(s.all)
	s.all = nil
	return nil
}

// producers writes some outputs and returns them with all rows in order.
func producers(t *testing.T, env *dataflow.Env, schema *arrow.Schema, n, partitions int) ([]Location, [][]string) {
	t.Helper()
	dir := t.TempDir()
	var from []Location
	rows := make([][]string, partitions)
	for i := range n {
		env.Task.Index = i
		all := random(uint64(i), env, schema, 30, 1+i, 20)
		sealed := write(t, env, schema, &spread{n: partitions}, dir, Options{FrameBytes: 1500}, all)
		from = append(from, Location{Worker: "w", Path: sealed.Path, Task: env.Task})
		at := 0
		for _, b := range all {
			for _, row := range rowsOf(b) {
				rows[at%partitions] = append(rows[at%partitions], row)
				at++
			}
		}
		release(all)
	}
	return from, rows
}

func TestOpen(t *testing.T) {
	schema := blocktest.AllTypes()
	for _, n := range []int{7, 1, 0}[:race.Tries(3, 3, 1)] {
		from, want := producers(t, world(t, 0), schema, n, 3)
		for _, opt := range []ReadOptions{{}, {Budget: 1}, {Budget: 9000, Parallel: 2}, {Parallel: 50}} {
			for _, limit := range []int64{0, 1, 9000} {
				t.Run(fmt.Sprintf("%d/%+v/%d", n, opt, limit), func(t *testing.T) {
					env := world(t, limit)
					for _, p := range []int{0, 2} {
						got := drain(t, Open(env, Local{}, from, p, p+1, schema, opt))
						if !slices.Equal(got, want[p]) {
							t.Fatalf("%d rows, want %d, or others", len(got), len(want[p]))
						}
					}
				})
			}
		}
	}
}

// saboteur changes what a fetch of one producer yields, by the number of the try.
type saboteur struct {
	path string
	harm func(try int, data []byte) ([]byte, error)
	mu   sync.Mutex
	try  int
}

func (s *saboteur) Fetch(ctx context.Context, from Location, lo, hi int) (io.ReadCloser, error) {
	r, err := Local{}.Fetch(ctx, from, lo, hi)
	if err != nil || from.Path != s.path {
		return r, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.try++
	data, broken := s.harm(s.try, data)
	return io.NopCloser(io.MultiReader(bytes.NewReader(data), failing{broken})), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

func TestSecondTry(t *testing.T) {
	schema := blocktest.AllTypes()
	env := world(t, 0)
	from, want := producers(t, env, schema, 3, 1)
	reset := errors.New("connection reset")
	data, err := os.ReadFile(DataPath(from[1].Path))
	must(t, err)
	n := len(data) + rangeHeader
	for at := 0; at <= n+40; at += 1 + n/race.Tries(12, 12, 3) {
		for name, harm := range map[string]func([]byte) ([]byte, error){
			"reset":   func(b []byte) ([]byte, error) { return b[:at], reset },
			"cut":     func(b []byte) ([]byte, error) { return b[:min(at, n-1)], nil },
			"flipped": func(b []byte) ([]byte, error) { b[min(at, n-1)] ^= 4; return b, nil },
		} {
			once := &saboteur{path: from[1].Path, harm: func(try int, b []byte) ([]byte, error) {
				if try == 1 {
					return harm(b)
				}
				return b, nil
			}}
			if got := drain(t, Open(env, once, from, 0, 1, schema, ReadOptions{})); !slices.Equal(got, want[0]) {
				t.Fatalf("%s at %d: other rows", name, at)
			}
			always := &saboteur{path: from[1].Path, harm: func(_ int, b []byte) ([]byte, error) { return harm(b) }}
			_, err := tryDrain(t.Context(), Open(env, always, from, 0, 1, schema, ReadOptions{}))
			var lost *LostError
			if !errors.As(err, &lost) || len(lost.Locations) != 1 || lost.Locations[0] != from[1] || always.try != 2 {
				t.Fatalf("%s at %d: %v after %d tries", name, at, err, always.try)
			}
			kind := dataflow.Corrupt
			if name == "reset" {
				kind = dataflow.InputLost
			}
			if dataflow.KindOf(err) != kind {
				t.Fatalf("%s at %d: kind %v: %v", name, at, dataflow.KindOf(err), err)
			}
		}
	}
}

// A cut between two frames looks like an end; the header's promise says it is not.
func TestCutBetweenFrames(t *testing.T) {
	schema := blocktest.AllTypes()
	env := world(t, 0)
	from, _ := producers(t, env, schema, 1, 1)
	s, err := Read(from[0].Path, 0, 1, schema, env.Alloc)
	must(t, err)
	b, err := s.Next(t.Context())
	must(t, err)
	b.Release()
	first := s.(*rangeStream).Offset()
	must(t, s.Close())
	cut := &saboteur{path: from[0].Path, harm: func(_ int, b []byte) ([]byte, error) { return b[:rangeHeader+first], nil }}
	if _, err := tryDrain(t.Context(), Open(env, cut, from, 0, 1, schema, ReadOptions{})); dataflow.KindOf(err) != dataflow.Corrupt {
		t.Errorf("cut after a frame: %v", err)
	}
}

func TestLostFiles(t *testing.T) {
	schema := blocktest.AllTypes()
	env := world(t, 0)
	from, _ := producers(t, env, schema, 4, 1)
	must(t, os.Remove(DataPath(from[0].Path)))
	must(t, Remove(from[1].Path))
	must(t, os.Truncate(DataPath(from[2].Path), 10))
	_, err := tryDrain(t.Context(), Open(env, Local{}, from, 0, 1, schema, ReadOptions{Parallel: 1}))
	var lost *LostError
	if !errors.As(err, &lost) || dataflow.KindOf(err) != dataflow.InputLost || lost.Locations[0] != from[0] {
		t.Errorf("%v", err)
	}
	if slices.Contains(lost.Locations, from[3]) {
		t.Errorf("%v is not lost", from[3])
	}
	_, err = tryDrain(t.Context(), Open(env, Local{}, from[2:], 0, 1, schema, ReadOptions{}))
	if dataflow.KindOf(err) != dataflow.Corrupt {
		t.Errorf("a file cut short: %v", err)
	}
}

func TestFinalErrorsAreNotRetried(t *testing.T) {
	schema := blocktest.AllTypes()
	env := world(t, 0)
	var tries atomic.Int32
	f := fetcherFunc(func() (io.ReadCloser, error) {
		tries.Add(1)
		return nil, &dataflow.Error{Kind: dataflow.User, Err: errors.New("no such job key")}
	})
	_, err := tryDrain(t.Context(), Open(env, f, []Location{{}}, 0, 1, schema, ReadOptions{}))
	var lost *LostError
	if dataflow.KindOf(err) != dataflow.User || errors.As(err, &lost) || tries.Load() != 1 {
		t.Errorf("%v after %d tries", err, tries.Load())
	}
}

type fetcherFunc func() (io.ReadCloser, error)

func (f fetcherFunc) Fetch(context.Context, Location, int, int) (io.ReadCloser, error) { return f() }

func TestCloseEarly(t *testing.T) {
	schema := blocktest.AllTypes()
	for take := 0; take < 5; take += race.Stride(3) {
		for _, budget := range []int64{0, 1} {
			env := world(t, 0)
			from, _ := producers(t, env, schema, 6, 1)
			s := Open(env, Local{}, from, 0, 1, schema, ReadOptions{Budget: budget})
			for range take {
				b, err := s.Next(t.Context())
				must(t, err)
				b.Release()
			}
			must(t, s.Close())
			must(t, s.Close())
			if _, err := s.Next(t.Context()); err != io.EOF {
				t.Errorf("after Close: %v", err)
			}
		}
	}
}

// A fetch that hangs ends with the context of Next or of the attempt.
func TestCancel(t *testing.T) {
	schema := blocktest.AllTypes()
	for _, whole := range []bool{false, true} {
		env := world(t, 0)
		attempt, cancelAttempt := context.WithCancel(t.Context())
		env.Context = attempt
		begun := make(chan struct{}, 9)
		s := Open(env, hanging{begun}, []Location{{}, {}}, 0, 1, schema, ReadOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-begun
			if whole {
				cancelAttempt()
			} else {
				cancel()
			}
		}()
		if _, err := s.Next(ctx); dataflow.KindOf(err) != dataflow.Canceled {
			t.Errorf("attempt=%v: %v", whole, err)
		}
		must(t, s.Close())
		cancel()
		cancelAttempt()
	}
}

type hanging struct{ begun chan struct{} }

func (h hanging) Fetch(ctx context.Context, _ Location, _, _ int) (io.ReadCloser, error) {
	h.begun <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// The budget holds: with a consumer that takes nothing, no more is fetched.
func TestBudget(t *testing.T) {
	schema := blocktest.AllTypes()
	env := world(t, 0)
	from, _ := producers(t, env, schema, 10, 1)
	mem := dataflow.NewMemory("t", 0)
	env.Memory = mem
	s := Open(env, Local{}, from, 0, 1, schema, ReadOptions{Budget: 40000})
	for {
		b, err := s.Next(t.Context())
		if err == io.EOF {
			break
		}
		must(t, err)
		b.Release()
	}
	must(t, s.Close())
	if mem.Peak() == 0 || mem.Peak() > 40000 {
		t.Errorf("peak of %d with a budget of 40000", mem.Peak())
	}
}
