package worker

import (
	"context"
	"errors"
	"sync"
)

// An outbox is an unbounded queue of messages with one reader: putting never blocks,
// so that it can be done under a lock. What is put is bounded by what the other side
// has asked for.
type outbox[M any] struct {
	mu     sync.Mutex
	queue  []M
	some   chan struct{} // has one token when the queue may hold something
	closed bool
}

var errOutboxClosed = errors.New("the connection is closed")

func newOutbox[M any]() *outbox[M] { return &outbox[M]{some: make(chan struct{}, 1)} }

func (o *outbox[M]) put(m M) {
	o.mu.Lock()
	if !o.closed {
		o.queue = append(o.queue, m)
	}
	o.mu.Unlock()
	o.wake()
}

func (o *outbox[M]) wake() {
	select {
	case o.some <- struct{}{}:
	default:
	}
}

// take waits for the next message.
func (o *outbox[M]) take(ctx context.Context) (M, error) {
	for {
		o.mu.Lock()
		if len(o.queue) > 0 {
			m := o.queue[0]
			var none M
			o.queue[0] = none
			o.queue = o.queue[1:]
			o.mu.Unlock()
			return m, nil
		}
		closed := o.closed
		o.mu.Unlock()
		var none M
		if closed {
			return none, errOutboxClosed
		}
		select {
		case <-ctx.Done():
			return none, context.Cause(ctx)
		case <-o.some:
		}
	}
}

// close ends the outbox once what is queued has been taken.
func (o *outbox[M]) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.wake()
}
