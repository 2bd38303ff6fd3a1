package faultproxy

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pieceBytes = 32 << 10
	// piecesMax are on their way at most, in each direction of a connection: as much
	// as a delayed link holds.
	piecesMax = 64
)

// A conn is one connection through the proxy: two ways, each with a goroutine that
// reads and one that writes.
type conn struct {
	p              *Proxy
	client, target *net.TCPConn
	ctx            context.Context
	cancel         context.CancelFunc
	cutting        atomic.Bool
}

// A piece is data on its way. The end of a stream is a piece without data.
type piece struct {
	data []byte
	came time.Time
}

// run returns when both ways have ended.
func (c *conn) run(n uint64) {
	stop := context.AfterFunc(c.ctx, func() { // unblocks all reads and writes
		if c.cutting.Load() {
			cut(c.client)
			cut(c.target)
		} else {
			c.client.Close()
			c.target.Close()
		}
	})
	var wg sync.WaitGroup
	way := func(dst, src *net.TCPConn, up bool, passed *atomic.Int64, seed uint64) {
		pieces := make(chan piece, piecesMax)
		wg.Go(func() { c.read(src, pieces) })
		wg.Go(func() {
			if !c.write(dst, pieces, up, passed, rand.New(rand.NewPCG(c.p.seed, seed))) {
				c.cancel() // one way is broken: so is the connection
			}
		})
	}
	way(c.target, c.client, true, &c.p.up, 2*n)
	way(c.client, c.target, false, &c.p.down, 2*n+1)
	wg.Wait()
	c.cancel()
	if stop() { // it has not run and will not
		c.client.Close()
		c.target.Close()
	}
}

// reset cuts the connection.
func (c *conn) reset() {
	if c.cutting.CompareAndSwap(false, true) {
		c.p.resets.Add(1)
	}
	c.cancel()
}

// read puts what comes into pieces, and closes it at the end.
func (c *conn) read(src *net.TCPConn, pieces chan<- piece) {
	defer close(pieces)
	for {
		buf := make([]byte, pieceBytes)
		n, err := src.Read(buf)
		if n > 0 && !put(c.ctx, pieces, piece{buf[:n], time.Now()}) {
			return
		}
		if err == io.EOF {
			put(c.ctx, pieces, piece{nil, time.Now()})
			return
		}
		if err != nil {
			c.reset() // as the other side was
			return
		}
	}
}

func put(ctx context.Context, pieces chan<- piece, p piece) bool {
	select {
	case pieces <- p:
		return true
	case <-ctx.Done():
		return false
	}
}

// write passes pieces on as the rules say when their time has come. It returns false
// if the connection has to end.
func (c *conn) write(dst *net.TCPConn, pieces <-chan piece, up bool, passed *atomic.Int64, random *rand.Rand) bool {
	swallowed := false // something, so that nothing may follow
	free := time.Now() // when the rate lets the next piece pass
	for p := range pieces {
		jitter := random.Float64()
		rules, ok := c.due(func(r Rules) time.Time {
			at := p.came.Add(r.Delay + time.Duration(jitter*float64(r.Jitter)))
			if r.Rate > 0 && free.After(at) {
				return free
			}
			return at
		}, func(r Rules) bool {
			return r.Pause || p.data == nil && r.drops(up) // an end waits for better times
		})
		if !ok {
			return false
		}
		if p.data == nil && !swallowed {
			dst.CloseWrite()
			return true
		}
		if random.Float64() < rules.Reset {
			c.reset()
			return false
		}
		if rules.drops(up) {
			swallowed = true
			continue
		}
		if swallowed {
			c.reset()
			return false
		}
		if random.Float64() < rules.Flip {
			p.data[random.IntN(len(p.data))] ^= 1 << random.IntN(8)
			c.p.flips.Add(1)
		}
		if _, err := dst.Write(p.data); err != nil {
			return false
		}
		passed.Add(int64(len(p.data)))
		if rules.Rate > 0 {
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(float64(len(p.data)) / float64(rules.Rate) * float64(time.Second)))
		}
	}
	return c.ctx.Err() == nil
}

func (r Rules) drops(up bool) bool { return up && r.DropUp || !up && r.DropDown }

// due waits until the time that the rules give has come and they do not hold the piece
// back, and returns the rules of then.
func (c *conn) due(at func(Rules) time.Time, held func(Rules) bool) (Rules, bool) {
	for {
		rules, changed := c.p.now()
		var timer *time.Timer
		var fire <-chan time.Time
		if !held(rules) {
			wait := time.Until(at(rules))
			if wait <= 0 {
				return rules, c.ctx.Err() == nil
			}
			timer = time.NewTimer(wait)
			fire = timer.C
		}
		select {
		case <-fire:
		case <-changed:
		case <-c.ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
		if c.ctx.Err() != nil {
			return rules, false
		}
	}
}
