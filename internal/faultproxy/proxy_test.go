package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each connection with what it is sent, and counts the bytes it was sent.
type echo struct {
	net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
	got   chan int // bytes, by read
}

func startEcho(t *testing.T) *echo {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{Listener: l, got: make(chan int, 10_000)}
	e.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns = append(e.conns, c)
			e.mu.Unlock()
			e.wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					if n > 0 {
						e.got <- n
						if _, err := c.Write(buf[:n]); err != nil {
							return
						}
					}
					if err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		e.mu.Lock()
		for _, c := range e.conns {
			c.Close()
		}
		e.mu.Unlock()
		e.wg.Wait()
	})
	return e
}

func start(t *testing.T, target string, rules string) *Proxy {
	t.Helper()
	r, err := Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), Config{Target: target, Seed: 7, Rules: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute)) // only guards the test
	return c.(*net.TCPConn)
}

// refused tries a connection that must not work: the reset may come while it is made.
func refused(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || err == io.EOF {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// through sends data and returns what comes back until the end of the stream.
func through(t *testing.T, c *net.TCPConn, data []byte) ([]byte, error) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	return got, errors.Join(err, <-sent)
}

func TestPassesAllUnderBenignRules(t *testing.T) {
	e := startEcho(t)
	data := randomBytes(1 << 20)
	for _, rules := range []string{"", "delay=5ms", "delay=2ms,jitter=3ms", "rate=20000000", "delay=1ms,rate=50000000"} {
		t.Run(rules, func(t *testing.T) {
			p := start(t, e.Addr().String(), rules)
			got, err := through(t, dial(t, p), data)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes came back of %d, equal: %v, %v", len(got), len(data), bytes.Equal(got, data), err)
			}
			if s := p.Stats(); s.Conns != 1 || s.Up != 1<<20 || s.Down != 1<<20 || s.Resets+s.Flips != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestFlipsExactlyTheBitsItCounts(t *testing.T) {
	e := startEcho(t)
	p := start(t, e.Addr().String(), "flip=1")
	data := randomBytes(1 << 20)
	got, err := through(t, dial(t, p), data)
	if err != nil || len(got) != len(data) {
		t.Fatal(len(got), err)
	}
	differ := int64(0)
	for i := range got {
		for x := got[i] ^ data[i]; x != 0; x &= x - 1 {
			differ++
		}
	}
	// Two flips may hit the same bit, and undo each other.
	if f := p.Stats().Flips; f < 2 || differ == 0 || differ > f || (f-differ)%2 != 0 {
		t.Errorf("%d bits differ, %d were flipped", differ, f)
	}
}

func TestResetIsSeen(t *testing.T) {
	e := startEcho(t)
	p := start(t, e.Addr().String(), "reset=1")
	if got, err := through(t, dial(t, p), randomBytes(1000)); err == nil || len(got) > 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if s := p.Stats(); s.Resets != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRefuse(t *testing.T) {
	e := startEcho(t)
	p := start(t, e.Addr().String(), "refuse")
	refused(t, p)
	if err := p.Set(Rules{}); err != nil {
		t.Fatal(err)
	}
	if got, err := through(t, dial(t, p), []byte("x")); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPauseKeepsEverything(t *testing.T) {
	e := startEcho(t)
	p := start(t, e.Addr().String(), "pause")
	c := dial(t, p)
	if _, err := c.Write([]byte("kept")); err != nil {
		t.Fatal(err)
	}
	if p.Stats().Up != 0 {
		t.Error("it passed")
	}
	if err := p.Set(Rules{}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "kept" {
		t.Errorf("%q, %v", buf, err)
	}
}

// In a one-way black hole the other way works, and the connection stays as long as it
// lasts.
func TestBlackHoles(t *testing.T) {
	for _, rules := range []string{"drop-up", "drop-down"} {
		t.Run(rules, func(t *testing.T) {
			e := startEcho(t)
			p := start(t, e.Addr().String(), "")
			c := dial(t, p)
			exchange := func(text string) string {
				t.Helper()
				if _, err := c.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
				if n := <-e.got; n != len(text) {
					t.Fatalf("%d bytes arrived of %q", n, text)
				}
				buf := make([]byte, len(text))
				if _, err := io.ReadFull(c, buf); err != nil {
					t.Fatal(err)
				}
				return string(buf)
			}
			if got := exchange("a"); got != "a" {
				t.Fatalf("%q", got)
			}
			r, _ := Parse(rules)
			p.Set(r)
			if _, err := c.Write([]byte("lost")); err != nil {
				t.Fatal(err)
			}
			if rules == "drop-down" {
				if n := <-e.got; n != 4 {
					t.Fatalf("%d bytes went up", n)
				}
			}
			// What follows the swallowed piece in order shows that it was swallowed.
			waitSwallowed(t, c)
			p.Set(Rules{})
			// What was lost is lost, and nothing comes after it.
			c.Write([]byte("b"))
			if b, err := io.ReadAll(c); err == nil || len(b) > 0 {
				t.Errorf("%q came back after the hole, %v", b, err)
			}
			if got, err := through(t, dial(t, p), []byte("c")); err != nil || string(got) != "c" {
				t.Errorf("a new connection: %q, %v", got, err)
			}
		})
	}
}

// waitSwallowed gives the piece time to be swallowed: nothing may come back.
func waitSwallowed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Fatal("something came through the black hole")
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
}

func TestCutAndClose(t *testing.T) {
	e := startEcho(t)
	p := start(t, e.Addr().String(), "")
	a := dial(t, p)
	a.Write([]byte("x"))
	<-e.got
	io.ReadFull(a, make([]byte, 1))
	p.Cut()
	if _, err := a.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a cut connection reads %v", err)
	}
	b := dial(t, p)
	b.Write([]byte("x"))
	<-e.got
	p.Close()
	if _, err := io.ReadAll(b); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("a connection of a closed proxy reads %v", err)
	}
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("a closed proxy listens")
	}
}

func TestTargetAway(t *testing.T) {
	e := startEcho(t)
	gone := e.Addr().String()
	e.Close()
	p := start(t, gone, "")
	refused(t, p)
	again := startEcho(t)
	p.SetTarget(again.Addr().String())
	if got, err := through(t, dial(t, p), []byte("x")); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRulesText(t *testing.T) {
	all := "delay=20ms,jitter=5ms,rate=1000,reset=0.25,flip=0.5,drop-up,drop-down,pause,refuse"
	r, err := Parse(all)
	if err != nil || r.String() != all {
		t.Errorf("%q, %v", r, err)
	}
	if r, err := Parse(""); err != nil || r != (Rules{}) || r.String() != "" {
		t.Errorf("%q, %v", r, err)
	}
	for _, bad := range []string{"dleay=1ms", "delay=1", "flip=2", "reset=-1", "reset=NaN", "rate=-1", "delay=-1s", "pause=maybe"} {
		if r, err := Parse(bad); err == nil {
			t.Errorf("%q is read as %q", bad, r)
		}
	}
	if _, err := Start(context.Background(), Config{Listen: "0.0.0.0:0"}); err == nil || !strings.Contains(err.Error(), "refusing") {
		t.Errorf("listening to the world: %v", err)
	}
}
