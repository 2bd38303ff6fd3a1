package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// Of several coordinators that answer the one of the latest epoch is meant; those that are
// not there do no harm as long as there is one.
func TestDialSeveral(t *testing.T) {
	var addrs []string
	for _, epoch := range []uint64{3, 5, 4} {
		addrs = append(addrs, serve(t, &fake{epoch: epoch}))
	}
	standby := &fake{epoch: 9}
	standby.standby.Store(true)
	away := serve(t, standby)
	c := &Client{addr: "-", addrs: append([]string{away}, addrs...), late: time.Minute}
	l, err := c.choose(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer l.conn.Close()
	if l.addr != addrs[1] {
		t.Errorf("of epochs 3, 5 and 4 that of %d is taken", l.hello.Epoch)
	}
	one, err := Dial(t.Context(), away+", "+addrs[0]+","+away)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if one.Cluster().GetEpoch() != 3 {
		t.Errorf("the one that is there: %v", one.Cluster())
	}
	other := serve(t, standby)
	var un *Unreachable
	if _, err := Dial(t.Context(), away+","+other); !errors.As(err, &un) || !strings.Contains(err.Error(), away) || !strings.Contains(err.Error(), other) {
		t.Errorf("none of two is there: %v", err)
	}
}

// A deadline that the other end saw pass first is the caller's, where that comes before the
// end of patience with a coordinator.
func TestDialUntilDeadline(t *testing.T) {
	c := &Client{addr: "-", addrs: []string{serve(t, &fake{late: true})}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := c.choose(ctx, 2*time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's time was up: %v", err)
	}
	var un *Unreachable
	if _, err := c.choose(ctx, time.Minute); !errors.As(err, &un) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("the coordinator is too slow: %v", err)
	}
}

// A job is followed to the coordinator that takes over from one that answers nothing any
// more and keeps its connections.
func TestWatchGoesToTheSuccessor(t *testing.T) {
	running := &pb.JobStatus{State: pb.JobState_JOB_STATE_RUNNING}
	done := &pb.JobStatus{State: pb.JobState_JOB_STATE_SUCCEEDED}
	stopped := make(chan struct{})
	first := &fake{epoch: 1, stopped: stopped, watch: [][]any{{running, stopped}}}
	second := &fake{epoch: 2, watch: [][]any{{running, done}}}
	second.standby.Store(true)
	c, err := Dial(t.Context(), serve(t, first)+","+serve(t, second))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var states []pb.JobState
	for s, err := range c.Watch(t.Context(), "j") {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, s.State)
		second.standby.Store(false)
	}
	if want := []pb.JobState{running.State, running.State, done.State}; !slices.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
	if c.Cluster().GetEpoch() != 2 {
		t.Errorf("the client stays at %v", c.Cluster())
	}
}

// A call goes on at the successor also when it is another call that has found out that
// the coordinator does not answer, and has left the connection of both.
func TestCallsGoToTheSuccessorTogether(t *testing.T) {
	second := &fake{epoch: 2}
	second.standby.Store(true)
	c, err := Dial(t.Context(), serve(t, &fake{epoch: 1})+","+serve(t, second))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	left := c.current()
	second.standby.Store(false)
	calls := 0
	r, err := retry(t.Context(), c, func(ctx context.Context, rpc pb.ClientClient) (*pb.HelloReply, error) {
		if calls++; calls == 1 && !c.follow(ctx, left) {
			t.Error("the successor is not found")
		}
		return rpc.Hello(ctx, &pb.HelloRequest{})
	})
	if err != nil || calls != 2 || r.GetEpoch() != 2 {
		t.Errorf("after %d calls: %v, %v", calls, r, err)
	}
}
