package worker

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/internal/race"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A worker that holds more than a message has room for names all of it.
func TestLargeRegistration(t *testing.T) {
	if race.Short() {
		t.Skip("names a million outputs")
	}
	c := start(t, text, false)
	c.prepare() // it knows the job then
	const n = 1_000_000
	c.w.mu.Lock()
	j := c.w.jobs[c.job.Id]
	for i := range n {
		o := heldOutput{id: &pb.TaskID{Job: c.job.Id, Index: int32(i), Attempt: 1_000_000}}
		j.outputs[attemptKey(o.id)] = o
	}
	c.w.mu.Unlock()
	c.stop()
	second := newFake(t, c.addr, 8)
	second.await()
	r := second.registered()
	if size := proto.Size(r); size < messageMax*5/4 || second.pages.Load() < 2 {
		t.Fatalf("%d bytes in %d messages: they fit into one", size, second.pages.Load())
	}
	named := make([]bool, n)
	for _, h := range r.Held {
		for _, o := range h.Tasks {
			if named[o.Index] || o.Job != c.job.Id {
				t.Fatalf("%v is named twice", o)
			}
			named[o.Index] = true
		}
	}
	for i, ok := range named {
		if !ok {
			t.Fatalf("output %d is not named", i)
		}
	}
	c.w.mu.Lock() // so that the end of the job has nothing to remove
	clear(j.outputs)
	c.w.mu.Unlock()
}
