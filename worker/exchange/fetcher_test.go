package exchange

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	"github.com/divisi-data/divisi/internal/faultproxy"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// badPeer is a worker's exchange behind a bad network.
func badPeer(t *testing.T, service pb.ExchangeServer) *faultproxy.Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterExchangeServer(s, service)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-served })
	p, err := faultproxy.Start(t.Context(), faultproxy.Config{Target: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func fetcherOf(t *testing.T, cfg FetcherConfig) *Fetcher {
	cfg.Job = "j"
	f := NewFetcher(cfg)
	t.Cleanup(func() { f.Close() })
	return f
}

func at(p *faultproxy.Proxy) shuffle.Location {
	return shuffle.Location{Worker: "w", Address: p.Addr(), Task: dataflow.TaskID{Job: "j"}}
}

// two chunks, the second of which comes when it is let.
type two struct {
	pb.UnimplementedExchangeServer
	second chan struct{}
}

func (s *two) Fetch(_ *pb.FetchRequest, out pb.Exchange_FetchServer) error {
	if err := out.Send(&pb.FetchChunk{Bytes: 6, Data: []byte("abc")}); err != nil {
		return err
	}
	select {
	case <-s.second:
	case <-out.Context().Done():
		return out.Context().Err()
	}
	return out.Send(&pb.FetchChunk{Data: []byte("def")})
}

func isLost(t *testing.T, err error) {
	t.Helper()
	if dataflow.KindOf(err) != dataflow.InputLost || errors.Is(err, context.Canceled) {
		t.Errorf("kind %v: %v", dataflow.KindOf(err), err)
	}
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	s := &two{second: make(chan struct{})}
	p := badPeer(t, s)
	f := fetcherOf(t, FetcherConfig{Stall: 50 * time.Millisecond})
	r, err := f.Fetch(t.Context(), at(p), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(r)
	isLost(t, err)
	r.Close()

	p.Set(faultproxy.Rules{DropDown: true})
	_, err = f.Fetch(t.Context(), at(p), 0, 1)
	isLost(t, err)

	// The connection that went silent is not used again.
	p.Set(faultproxy.Rules{})
	close(s.second)
	f.cfg.Stall = time.Minute
	if r, err = f.Fetch(t.Context(), at(p), 0, 1); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "abcdef" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFetchEndsWhenTheOutputIsGone(t *testing.T) {
	var gone func()
	done := false
	f := fetcherOf(t, FetcherConfig{Stall: time.Minute, Reading: func(_ shuffle.Location, g func()) func() {
		gone = g
		return func() { done = true }
	}})
	r, err := f.Fetch(t.Context(), at(badPeer(t, &two{second: make(chan struct{})})), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "abc" {
		t.Fatalf("%q, %v", b, err)
	}
	gone()
	_, err = r.Read(b)
	isLost(t, err)
	if !errors.Is(err, errMoved) {
		t.Errorf("%v", err)
	}
	if r.Close(); !done {
		t.Error("Reading was not ended")
	}
}

// Whoever reads may be cancelled: that is not the output's fault.
func TestCancelledReader(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("not needed")
	r, err := fetcherOf(t, FetcherConfig{}).Fetch(ctx, at(badPeer(t, &two{second: make(chan struct{})})), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Read(make([]byte, 3))
	cancel(why)
	if _, err := r.Read(make([]byte, 3)); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
