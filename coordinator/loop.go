package coordinator

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errStopping answers whoever asks while the coordinator ends.
var errStopping = errors.New("the coordinator is stopping")

// mailbox holds what the loop is to do, in order, without bound: the loop must never
// wait for those who post to it.
type mailbox struct {
	mu     sync.Mutex
	posts  []func(*state)
	wake   chan struct{} // holds a token when there is something
	closed chan struct{}
}

func newMailbox() *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

// post is never refused; after the end nobody acts on it.
func (m *mailbox) post(f func(*state)) {
	m.mu.Lock()
	m.posts = append(m.posts, f)
	m.mu.Unlock()
	m.poke()
}

func (m *mailbox) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []func(*state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.posts
	m.posts = nil
	return p
}

func (m *mailbox) close() { close(m.closed) }

// ask runs f on the loop and returns what it says.
func ask[T any](ctx context.Context, m *mailbox, f func(*state) T) (T, error) {
	c := make(chan T, 1)
	m.post(func(s *state) { c <- f(s) })
	return await(ctx, m, c)
}

// await waits for an answer that the loop gives later.
func await[T any](ctx context.Context, m *mailbox, c <-chan T) (T, error) {
	var none T
	select {
	case v := <-c:
		return v, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-m.closed:
		select {
		case v := <-c:
			return v, nil
		default:
		}
		return none, errStopping
	}
}

// loop is the goroutine that owns the state.
func (c *Coordinator) loop(ctx context.Context) {
	s := c.state
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.detachAll()
			return
		case <-c.box.wake:
		case <-timer.C:
		}
		for _, f := range c.box.take() {
			f(s)
		}
		s.slept(s.clock())
		next := s.turn()
		if s.broken != nil {
			c.fail(s.broken)
		}
		timer.Reset(next)
	}
}

// turn does what has become due, after what was posted. It returns how long nothing
// will be, if nothing else happens.
func (s *state) turn() time.Duration {
	s.flush()
	s.tick()
	s.assign()
	s.flush()
	s.tellWatchers()
	return s.nextTick()
}
