package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// manyPages is a registration that names so many outputs of another job than those of reg,
// which come last, in messages of n.
func manyPages(f *fake, job string, outputs, n int) (bytes int) {
	for at := 0; at < outputs; at += n {
		r := clone(f.reg)
		r.Running, r.Held, r.More = nil, []*divisipb.HeldOutput{{Job: job}}, true
		for i := range min(n, outputs-at) {
			r.Held[0].Tasks = append(r.Held[0].Tasks, &divisipb.TaskID{Job: job, Index: int32(at + i), Attempt: 1_000_000})
		}
		f.before = append(f.before, r)
		bytes += proto.Size(r)
	}
	return bytes
}

// TestLargeRegistration: a worker comes back with more outputs than a message has room
// for. It is told which it may drop, and what is needed of them is not made again.
func TestLargeRegistration(t *testing.T) {
	if race.Short() {
		t.Skip("names a million outputs")
	}
	dir := t.TempDir()
	c := start(t, dir)
	w := newFake(t, "w1", 2)
	w.do = except(1)
	w.attach(c)
	id := submit(t, c)
	w.await("the readers", func() bool { return w.count(1) == 2 })
	c.Close()
	<-w.over

	c = start(t, dir)
	w.reregister()
	if bytes := manyPages(w, "gone-long-ago", 1_000_000, 50_000); bytes < messageBytesMax*5/4 {
		t.Fatalf("only %d bytes: they fit into one message", bytes)
	}
	before := w.count(0)
	w.got = nil
	w.attach(c)
	if forget := w.got[0].GetWelcome().GetForgetJobs(); !slices.Equal(forget, []string{"gone-long-ago"}) {
		t.Errorf("it is told to forget %v", forget)
	}
	w.mu.Lock()
	runs := []*divisipb.TaskSpec{}
	for _, s := range w.running {
		runs = append(runs, s)
	}
	w.mu.Unlock()
	for _, s := range runs {
		w.report(s.GetId(), succeed(s))
	}
	succeeded(t, outcome(t, c, id))
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.count(0); n != before {
		t.Errorf("%d tasks ran again whose outputs the worker holds", n-before)
	}
}

// A registration that is not one worker's, or has no end, is refused.
func TestBadRegistration(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 2)
	other := clone(w.reg)
	other.Incarnation, other.More = "another", true
	w.before = []*divisipb.Register{other}
	if err := w.tryAttach(c); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "amid the registration") {
		t.Errorf("two workers in one: %v", err)
	}
	large := clone(w.reg)
	large.More = true
	large.Held = []*divisipb.HeldOutput{{Job: strings.Repeat("x", 15<<20)}}
	w.before = nil
	for range registrationBytesMax/(15<<20) + 1 {
		w.before = append(w.before, large)
	}
	if err := w.tryAttach(c); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), fmt.Sprint(registrationBytesMax)) {
		t.Errorf("without an end: %v", err)
	}
}
