package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const job, partitions = "job-1", 4

var schema = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "pad", Type: arrow.BinaryTypes.String}}, nil)

// produce seals the output of one attempt below dir: numbers from first on, n of them.
func produce(t *testing.T, dir string, index, first, n int) shuffle.Location {
	t.Helper()
	return produceAs(t, dir, index, first, n, shuffle.Options{})
}

func produceAs(t *testing.T, dir string, index, first, n int, opt shuffle.Options) shuffle.Location {
	t.Helper()
	out := ShuffleDir(dir, job)
	if err := os.MkdirAll(out, 0o700); err != nil {
		t.Fatal(err)
	}
	env := dataflow.NewEnv(t.Context())
	env.Task = dataflow.TaskID{Job: job, Stage: 2, Index: index, Attempt: 100 + index}
	part, err := shuffle.NewPartitioner(dataflow.Exchange{Kind: dataflow.Hash, Columns: []int{0}, Partitions: partitions}, schema, env.Task, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := shuffle.NewWriter(env, schema, part, out, opt)
	if err != nil {
		t.Fatal(err)
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := first; i < first+n; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(strings.Repeat("x", 200))
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	if err := w.Write(batch); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	return shuffle.Location{Worker: "w1", Task: env.Task}
}

func output(dir string, l shuffle.Location) string {
	return filepath.Join(ShuffleDir(dir, job), shuffle.Name(l.Task))
}

// serve runs a service on loopback and returns its address.
func serve(t *testing.T, s pb.ExchangeServer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterExchangeServer(g, s)
	done := make(chan struct{})
	go func() { defer close(done); g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-done })
	return l.Addr().String()
}

func fetcher(t *testing.T, cfg FetcherConfig) *Fetcher {
	t.Helper()
	cfg.Job = job
	f := NewFetcher(cfg)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// read is what a fetcher gives.
func read(t *testing.T, f shuffle.Fetcher, l shuffle.Location, lo, hi int) ([]byte, error) {
	t.Helper()
	r, err := f.Fetch(t.Context(), l, lo, hi)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestFetchIsWhatTheFileHolds(t *testing.T) {
	dir := t.TempDir()
	l := produce(t, dir, 0, 0, 20_000) // several chunks
	l.Address = serve(t, &Server{Dir: dir})
	remote := fetcher(t, FetcherConfig{Own: "elsewhere"})
	own := fetcher(t, FetcherConfig{Own: l.Address, Dir: ShuffleDir(dir, job)})
	near := fetcher(t, FetcherConfig{Own: "elsewhere", Near: func(shuffle.Location) string { return ShuffleDir(dir, job) }})
	notNear := fetcher(t, FetcherConfig{Own: "elsewhere", Near: func(shuffle.Location) string { return t.TempDir() }})
	for lo := range partitions + 1 {
		for hi := lo; hi <= partitions; hi++ {
			file := l
			file.Path = output(dir, l)
			want, err := read(t, shuffle.Local{}, file, lo, hi)
			if err != nil {
				t.Fatal(err)
			}
			for name, f := range map[string]*Fetcher{"remote": remote, "own": own, "near": near, "near in vain": notNear} {
				var local, far atomic.Int64
				got, err := read(t, f.Counting(&local, &far), l, lo, hi)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, partitions %d to %d: %d bytes, %v; want %d", name, lo, hi, len(got), err, len(want))
				}
				counted, other := &far, &local
				if name == "own" || name == "near" {
					counted, other = &local, &far
				}
				if counted.Load() != int64(len(want)) || other.Load() != 0 {
					t.Errorf("%s counts %d local and %d remote bytes of %d", name, local.Load(), far.Load(), len(want))
				}
			}
		}
	}
}

func TestRowsFromSeveralWorkers(t *testing.T) {
	var from []shuffle.Location
	dirs := []string{t.TempDir(), t.TempDir()}
	addrs := []string{serve(t, &Server{Dir: dirs[0]}), serve(t, &Server{Dir: dirs[1]})}
	for i := range 6 {
		l := produce(t, dirs[i%2], i, 1000*i, 1000-i) // the last ones a few rows fewer
		l.Address = addrs[i%2]
		from = append(from, l)
	}
	f := fetcher(t, FetcherConfig{Own: addrs[0], Dir: ShuffleDir(dirs[0], job)})
	got := rows(t, f, from)
	var want []int64
	for i := range 6 {
		for n := 1000 * i; n < 1000*i+1000-i; n++ {
			want = append(want, int64(n))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d rows came, want %d", len(got), len(want))
	}
}

func rows(t *testing.T, f shuffle.Fetcher, from []shuffle.Location) []int64 {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	env := dataflow.NewEnv(t.Context())
	env.Alloc = mem
	var got []int64
	for p := range partitions {
		s := shuffle.Open(env, f, from, p, p+1, schema, shuffle.ReadOptions{})
		for {
			b, err := s.Next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b.Column(0).(*array.Int64).Int64Values()...)
			b.Release()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	return got
}

// wantLost checks that a failure means: run the producer again.
func wantLost(t *testing.T, err error, want string) {
	t.Helper()
	if dataflow.KindOf(err) != dataflow.InputLost || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "w1") {
		t.Errorf("got %v (%s), want a lost input that says %q", err, dataflow.KindOf(err), want)
	}
}

func TestWhatCannotBeHadIsLost(t *testing.T) {
	dir := t.TempDir()
	good := produce(t, dir, 0, 0, 5000)
	good.Address = serve(t, &Server{Dir: dir})
	f := fetcher(t, FetcherConfig{})

	missing := good
	missing.Task.Attempt++
	_, err := read(t, f, missing, 0, 1)
	wantLost(t, err, "no such file")

	_, err = read(t, f, good, 0, partitions+1)
	wantLost(t, err, "there are 4")

	good.Address = serve(t, &Server{Dir: dir}) // which does not know the index yet
	index := shuffle.IndexPath(output(dir, good))
	b, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 1
	if err := os.WriteFile(index, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = read(t, f, good, 0, 1)
	wantLost(t, err, "checksum mismatch")

	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := good
	gone.Address = nobody.Addr().String()
	nobody.Close()
	_, err = read(t, f, gone, 0, 1)
	wantLost(t, err, "refused")
}

func TestCorruptBytesNameTheProducer(t *testing.T) {
	dir := t.TempDir()
	l := produce(t, dir, 0, 0, 1000)
	l.Address = serve(t, &Server{Dir: dir})
	data := shuffle.DataPath(output(dir, l))
	b, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x10
	if err := os.WriteFile(data, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := shuffle.Open(dataflow.NewEnv(t.Context()), fetcher(t, FetcherConfig{}), []shuffle.Location{l}, 0, partitions, schema, shuffle.ReadOptions{})
	defer s.Close()
	for err == nil {
		var batch dataflow.Batch
		if batch, err = s.Next(t.Context()); err == nil {
			batch.Release()
		}
	}
	var lost *shuffle.LostError
	if !errors.As(err, &lost) || len(lost.Locations) != 1 || lost.Locations[0].Task != l.Task || dataflow.KindOf(err) != dataflow.Corrupt {
		t.Errorf("a flipped bit gives %v", err)
	}
}

// scripted answers a fetch as its function does.
type scripted struct {
	pb.UnimplementedExchangeServer
	fetch func(out pb.Exchange_FetchServer) error
}

func (s *scripted) Fetch(_ *pb.FetchRequest, out pb.Exchange_FetchServer) error { return s.fetch(out) }

func TestPeersThatFailMidway(t *testing.T) {
	first := &pb.FetchChunk{Bytes: 1000, Data: make([]byte, 100)}
	silent := func(out pb.Exchange_FetchServer) error { <-out.Context().Done(); return nil }
	for name, c := range map[string]struct {
		fetch func(out pb.Exchange_FetchServer) error
		want  string
	}{
		"silent from the start": {silent, "no answer within"},
		"silent after a chunk": {func(out pb.Exchange_FetchServer) error {
			return errors.Join(out.Send(first), silent(out))
		}, "no answer within"},
		"too short": {func(out pb.Exchange_FetchServer) error { return out.Send(first) }, "900 bytes too few"},
		"an error after a chunk": {func(out pb.Exchange_FetchServer) error {
			return errors.Join(out.Send(first), status.Error(codes.DataLoss, "the disk is broken"))
		}, "disk is broken"},
		"nothing at all": {func(pb.Exchange_FetchServer) error { return nil }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := FetcherConfig{}
			if strings.HasPrefix(name, "silent") {
				cfg.Stall = 30 * time.Millisecond
			}
			f := fetcher(t, cfg)
			l := shuffle.Location{Worker: "w1", Address: serve(t, &scripted{fetch: c.fetch})}
			_, err := read(t, f, l, 0, 1)
			wantLost(t, err, c.want)
		})
	}
}

// A reader that ends is no failure of the producer.
func TestCancelIsNotLost(t *testing.T) {
	called := make(chan struct{})
	l := shuffle.Location{Worker: "w1", Address: serve(t, &scripted{fetch: func(out pb.Exchange_FetchServer) error {
		close(called)
		<-out.Context().Done()
		return nil
	}})}
	why := &dataflow.Error{Kind: dataflow.Canceled, Err: errors.New("not needed")}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-called; cancel(why) }()
	if _, err := fetcher(t, FetcherConfig{}).Fetch(ctx, l, 0, 1); !errors.Is(err, why) {
		t.Errorf("a cancelled fetch gives %v", err)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	dir := t.TempDir()
	c := client(t, serve(t, &Server{Dir: dir}))
	for name, r := range map[string]*pb.FetchRequest{
		"no job":      {},
		"a path":      {Job: "../other"},
		"a hidden":    {Job: ".."},
		"a long name": {Job: strings.Repeat("x", 201)},
		"too many":    {Job: job, Tasks: make([]*pb.TaskID, tasksMax+1)},
	} {
		for i := range r.Tasks {
			r.Tasks[i] = &pb.TaskID{}
		}
		s, err := c.Fetch(t.Context(), r)
		if err == nil {
			_, err = s.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := log(t, c, &pb.ReadLogRequest{Task: &pb.TaskID{Job: "../x"}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a log of no job: %v", err)
	}
}

func client(t *testing.T, addr string) pb.ExchangeClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return pb.NewExchangeClient(cc)
}

func log(t *testing.T, c pb.ExchangeClient, r *pb.ReadLogRequest) (string, error) {
	t.Helper()
	s, err := c.ReadLog(t.Context(), r)
	if err != nil {
		return "", err
	}
	var all []byte
	for {
		m, err := s.Recv()
		if err == io.EOF {
			return string(all), nil
		}
		if err != nil {
			return string(all), err
		}
		all = append(all, m.Data...)
	}
}

func TestReadLog(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(LogDir(dir, job), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		f, err := os.OpenFile(filepath.Join(LogDir(dir, job), name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	id := &pb.TaskID{Job: job, Stage: 2, Index: 7, Attempt: 107}
	name := shuffle.Name(dataflow.TaskID{Job: job, Stage: 2, Index: 7, Attempt: 107}) + ".log"
	write(name, "first\nsecond\n")
	write(HostLog(1), "host one\n")
	write(HostLog(2), "host two\n")

	var asked atomic.Int64
	s := &Server{Dir: dir, Live: func(got *pb.TaskID) bool {
		if got.Stage == 9 { // of which there is no log
			return false
		}
		if got.Index != 7 {
			t.Errorf("asked whether %v lives", got)
		}
		// It writes while it is followed, and ends.
		n := asked.Add(1)
		if n == 2 {
			write(name, "third\n")
		}
		return n < 4
	}}
	c := client(t, serve(t, s))
	for _, r := range []struct {
		req  *pb.ReadLogRequest
		want string
	}{
		{&pb.ReadLogRequest{Task: id}, "first\nsecond\n"},
		{&pb.ReadLogRequest{Task: id, Offset: 6}, "second\n"},
		{&pb.ReadLogRequest{Task: id, Offset: -7}, "second\n"},
		{&pb.ReadLogRequest{Task: id, Offset: -700}, "first\nsecond\n"},
		{&pb.ReadLogRequest{Task: id, Offset: 700}, ""},
		{&pb.ReadLogRequest{Task: &pb.TaskID{Job: job, Attempt: -1}}, "host one\nhost two\n"},
		{&pb.ReadLogRequest{Task: id, Follow: true}, "first\nsecond\nthird\n"},
	} {
		got, err := log(t, c, r.req)
		if err != nil || got != r.want {
			t.Errorf("%v: %q, %v, want %q", r.req, got, err, r.want)
		}
	}
	if _, err := log(t, c, &pb.ReadLogRequest{Task: &pb.TaskID{Job: job, Stage: 9}}); status.Code(err) != codes.NotFound {
		t.Errorf("a log that is not there: %v", err)
	}
}

func TestClosedFetcher(t *testing.T) {
	f := NewFetcher(FetcherConfig{})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := f.Fetch(t.Context(), shuffle.Location{Worker: "w1", Address: "127.0.0.1:1"}, 0, 1)
	wantLost(t, err, "closed")
}
