package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
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

// A peer's connection that says nothing for so long is asked whether it lives, and
// given up after so much more. gRPC does not ask sooner; so a peer from which no byte
// of an answer comes for a while is given up all the same.
const (
	pingAfter    = 10 * time.Second
	pingWithin   = 3 * time.Second
	defaultStall = 8 * time.Second
)

// A FetcherConfig says whose blocks are fetched and what lies near.
type FetcherConfig struct {
	Job string
	Own string // address of the own worker's exchange
	Dir string // the own worker's folder of the job's outputs
	// Near is the folder of the outputs of another worker whose files can be opened
	// from here, "" where they cannot. Nil: only the own worker's.
	Near func(l shuffle.Location) string
	// Reading is called before an output is asked for at another worker: gone is to be
	// called, at once or later, when it is known not to be there any more, until done
	// is. Nil: that is never known.
	Reading func(l shuffle.Location, gone func()) (done func())
	// Dial are the options of connections to other workers, above all their credentials.
	// Nil: no TLS.
	Dial []grpc.DialOption
	// Stall is how long a peer may be silent while its answer is waited for, 0: 8 s.
	Stall time.Duration
}

// A Fetcher gets ranges of outputs: as files where it can, else from the worker that
// has them. It keeps one connection per worker. Its methods may be called from many
// goroutines.
type Fetcher struct {
	cfg   FetcherConfig
	known shuffle.Indexes // of outputs that are files here

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

// NewFetcher makes one; close it.
func NewFetcher(cfg FetcherConfig) *Fetcher {
	if cfg.Stall == 0 {
		cfg.Stall = defaultStall
	}
	if cfg.Dial == nil {
		cfg.Dial = []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	}
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
	name, files := shuffle.Name(from.Task), shuffle.Local{Known: &f.known}
	if from.Address == f.cfg.Own {
		from.Path = filepath.Join(f.cfg.Dir, name)
		r, err := files.Fetch(ctx, from, lo, hi)
		return r, true, err
	}
	if f.cfg.Near != nil {
		if dir := f.cfg.Near(from); dir != "" {
			near := from
			near.Path = filepath.Join(dir, name)
			// Where it fails, the worker itself is asked: it knows better.
			if r, err := files.Fetch(ctx, near, lo, hi); err == nil {
				return r, true, nil
			}
		}
	}
	r, err = f.remote(ctx, from, lo, hi)
	return r, false, err
}

// remote asks the worker that has the output.
func (f *Fetcher) remote(ctx context.Context, from shuffle.Location, lo, hi int) (_ io.ReadCloser, err error) {
	conn, err := f.conn(from.Address)
	if err != nil {
		return nil, lost(from, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := &chunks{ctx: ctx, cancel: cancel, from: from, stall: f.cfg.Stall, silent: func() { f.drop(from.Address, conn) }}
	if f.cfg.Reading != nil {
		c.done = f.cfg.Reading(from, func() { cancel(&stalled{errMoved}) })
	}
	var first *pb.FetchChunk
	err = c.within(func() (err error) { // the connection may have to be made
		c.stream, err = pb.NewExchangeClient(conn).Fetch(ctx, &pb.FetchRequest{
			Job: f.cfg.Job, PartitionLo: int32(lo), PartitionHi: int32(hi),
			Tasks: []*pb.TaskID{{Job: from.Task.Job, Stage: int32(from.Task.Stage), Index: int32(from.Task.Index), Attempt: int32(from.Task.Attempt)}},
		})
		if err == nil {
			first, err = c.stream.Recv()
		}
		return err
	})
	if err != nil {
		return nil, c.failed(err)
	}
	if first.Lost != "" {
		return nil, c.failed(errors.New(first.Lost))
	}
	c.rest, c.left = first.Data, first.Bytes
	return c, nil
}

// lost says that an output cannot be had from where it was.
func lost(from shuffle.Location, err error) error {
	return &dataflow.Error{Op: "exchange.Fetch", Path: from.Worker + " at " + from.Address, Kind: dataflow.InputLost, Err: err}
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
	c, err := grpc.NewClient("passthrough:///"+address, append(slices.Clone(f.cfg.Dial),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWithin}),
		grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(16<<20),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
	)...)
	if err != nil {
		return nil, err
	}
	f.conns[address] = c
	return c, nil
}

// drop closes a connection on which nothing comes any more: the next fetch makes
// another.
func (f *Fetcher) drop(address string, c *grpc.ClientConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns[address] == c {
		delete(f.conns, address)
		c.Close()
	}
}

var errMoved = errors.New("the output is made again elsewhere")

// chunks is the data of a stream of chunks.
type chunks struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	stream pb.Exchange_FetchClient
	from   shuffle.Location
	stall  time.Duration
	silent func() // is called when nothing has come for so long
	done   func() // ends Reading; nil: there is none

	rest []byte
	left int64 // still to come, rest included
}

// Read implements io.Reader.
func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.left <= 0 {
			return 0, io.EOF
		}
		var m *pb.FetchChunk
		err := c.within(func() (err error) {
			m, err = c.stream.Recv()
			return err
		})
		if err == io.EOF {
			err = fmt.Errorf("the worker sent %d bytes too few", c.left)
		}
		if err != nil {
			return 0, c.failed(err)
		}
		c.rest = m.Data
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	c.left -= int64(n)
	return n, nil
}

// within calls f, for which the peer has a limited time.
func (c *chunks) within(f func() error) error {
	late := time.AfterFunc(c.stall, func() {
		c.cancel(&stalled{fmt.Errorf("no answer within %s: the worker is stopped or cut off", c.stall)})
		c.silent()
	})
	defer late.Stop()
	return f()
}

// timeOut ends a call to a peer that is silent for too long.
func timeOut(stall time.Duration, cancel context.CancelCauseFunc) *time.Timer {
	return time.AfterFunc(stall, func() {
		cancel(&stalled{fmt.Errorf("no answer within %s: the worker is stopped or cut off", stall)})
	})
}

// stalled marks our own doing among the reasons why a call was cancelled.
type stalled struct{ error }

// failed ends the call and says what its failure means: lost, or the reader's own end.
func (c *chunks) failed(err error) error {
	cause := context.Cause(c.ctx)
	c.Close()
	var s *stalled
	switch {
	case errors.As(cause, &s):
		return lost(c.from, s.error)
	case cause != nil:
		return cause
	}
	return lost(c.from, err)
}

// Close implements io.Closer.
func (c *chunks) Close() error {
	c.cancel(nil)
	if c.done != nil {
		c.done()
	}
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
