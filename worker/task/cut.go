package task

import (
	"sync"

	"github.com/divisi-data/divisi/dataflow"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// cuts is what an attempt has given away of its split, which it does once: after that it
// reads less, whether anybody takes the rest or not. Its result says so too.
type cuts struct {
	mu     sync.Mutex
	from   dataflow.Splitter // nil: nothing can be given
	closed bool              // all has been read: what could be given now has its result
	given  *pb.Cut
}

// open names the stream that may give something away.
func (c *cuts) open(s dataflow.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from, _ = s.(dataflow.Splitter)
}

// give gives away all but about a share of what has not been begun, or says again what it
// gave before; nil where there is nothing to give.
func (c *cuts) give(keep float64) *pb.Cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.given != nil || c.from == nil || c.closed {
		return c.given
	}
	if kept, rest, ok := c.from.TrySplit(keep); ok {
		c.given = &pb.Cut{Kept: protoSplit(kept), Rest: protoSplit(rest)}
	}
	return c.given
}

// close ends the giving and says what was given.
func (c *cuts) close() *pb.Cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.given
}

func protoSplit(s dataflow.Split) *pb.Split {
	return &pb.Split{Id: s.ID, Bytes: s.Bytes, Hosts: s.Hosts, Payload: s.Payload}
}

// cut asks an attempt to give something away, and answers.
func (h *host) cut(c *pb.CutTask) {
	h.mu.Lock()
	a := h.running[taskID(c.Id).String()]
	h.mu.Unlock()
	answer := &pb.TaskCut{Id: c.Id}
	if a != nil {
		answer.Cut = a.cuts.give(c.Keep)
	}
	h.send(&pb.FromHost{Body: &pb.FromHost_TaskCut{TaskCut: answer}})
}
