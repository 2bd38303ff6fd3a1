package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A peer that says nothing for so long is asked whether it lives, and given up after
// so much more.
const (
	pingAfter  = 5 * time.Second
	pingWithin = 3 * time.Second
)

// A FetcherConfig says whose blocks are fetched and what lies near.
type FetcherConfig struct {
	Job string
	Own string // address of the own worker's exchange
	Dir string // the own worker's folder of the job's outputs
	// Near is the folder of the outputs of another worker whose files can be opened
	// from here, "" where they cannot. Nil: only the own worker's.
	Near func(l shuffle.Location) string
}

// A Fetcher gets ranges of outputs: as files where it can, else from the worker that
// has them. It keeps one connection per worker. Its methods may be called from many
// goroutines.
type Fetcher struct {
	cfg FetcherConfig

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

// NewFetcher makes one; close it.
func NewFetcher(cfg FetcherConfig) *Fetcher {
	return &Fetcher{cfg: cfg, conns: map[string]*grpc.ClientConn{}}
}

// Close ends all connections.
func (f *Fetcher) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	var errs []error
	for _, c := range f.conns {
		errs = append(errs, c.Close())
	}
	f.conns = nil
	return errors.Join(errs...)
}

// Fetch implements shuffle.Fetcher.
func (f *Fetcher) Fetch(ctx context.Context, from shuffle.Location, lo, hi int) (io.ReadCloser, error) {
	r, _, err := f.fetch(ctx, from, lo, hi)
	return r, err
}

func (f *Fetcher) fetch(ctx context.Context, from shuffle.Location, lo, hi int) (r io.ReadCloser, local bool, err error) {
	name := shuffle.Name(from.Task)
	if from.Address == f.cfg.Own {
		from.Path = filepath.Join(f.cfg.Dir, name)
		r, err := shuffle.Local{}.Fetch(ctx, from, lo, hi)
		return r, true, err
	}
	if f.cfg.Near != nil {
		if dir := f.cfg.Near(from); dir != "" {
			near := from
			near.Path = filepath.Join(dir, name)
			// Where it fails, the worker itself is asked: it knows better.
			if r, err := (shuffle.Local{}).Fetch(ctx, near, lo, hi); err == nil {
				return r, true, nil
			}
		}
	}
	r, err = f.remote(ctx, from, lo, hi)
	return r, false, err
}

// remote asks the worker that has the output.
func (f *Fetcher) remote(ctx context.Context, from shuffle.Location, lo, hi int) (io.ReadCloser, error) {
	lost := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &dataflow.Error{Op: "exchange.Fetch", Path: from.Address, Kind: dataflow.InputLost, Err: err}
	}
	conn, err := f.conn(from.Address)
	if err != nil {
		return nil, lost(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := pb.NewExchangeClient(conn).Fetch(ctx, &pb.FetchRequest{
		Job: f.cfg.Job, PartitionLo: int32(lo), PartitionHi: int32(hi),
		Tasks: []*pb.TaskID{{Job: from.Task.Job, Stage: int32(from.Task.Stage), Index: int32(from.Task.Index), Attempt: int32(from.Task.Attempt)}},
	})
	if err != nil {
		cancel()
		return nil, lost(err)
	}
	first, err := stream.Recv()
	if err != nil {
		cancel()
		return nil, lost(err)
	}
	if first.Lost != "" {
		cancel()
		return nil, lost(errors.New(first.Lost))
	}
	return &chunks{stream: stream, rest: first.Data, left: first.Bytes, cancel: cancel, lost: lost}, nil
}

func (f *Fetcher) conn(address string) (*grpc.ClientConn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("the fetcher is closed")
	}
	if c := f.conns[address]; c != nil {
		return c, nil
	}
	c, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWithin}),
		grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(16<<20),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
	)
	if err != nil {
		return nil, err
	}
	f.conns[address] = c
	return c, nil
}

// chunks is the data of a stream of chunks.
type chunks struct {
	stream pb.Exchange_FetchClient
	rest   []byte
	left   int64 // still to come, rest included
	cancel context.CancelFunc
	lost   func(error) error
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.left <= 0 {
			return 0, io.EOF
		}
		m, err := c.stream.Recv()
		if err == io.EOF {
			return 0, c.lost(fmt.Errorf("the worker sent %d bytes too few", c.left))
		}
		if err != nil {
			return 0, c.lost(err)
		}
		c.rest = m.Data
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	c.left -= int64(n)
	return n, nil
}

func (c *chunks) Close() error {
	c.cancel()
	return nil
}

// Counting is a Fetcher that adds the bytes it reads to one of the two.
func (f *Fetcher) Counting(local, remote *atomic.Int64) shuffle.Fetcher {
	return counting{f, local, remote}
}

type counting struct {
	f             *Fetcher
	local, remote *atomic.Int64
}

func (c counting) Fetch(ctx context.Context, from shuffle.Location, lo, hi int) (io.ReadCloser, error) {
	r, local, err := c.f.fetch(ctx, from, lo, hi)
	if err != nil {
		return nil, err
	}
	n := c.remote
	if local {
		n = c.local
	}
	return &countingReader{r, n}, nil
}

type countingReader struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}
