package s3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A wire sends requests that have no body over connections of its own: whoever asks
// writes and reads in its own goroutine, where net/http has two of each connection's and
// hands every request and answer between them, which of a small object is most of the
// work. It reads the plain answer alone, one with the object and its length; any other
// is read by net/http, and its connection then closed.
type wire struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	tls  *tls.Config

	mu    sync.Mutex
	idle  []*conn // the one used last is the last
	prune *time.Timer
}

const (
	userAgent = "divisi/1"
	// idleMax is how many connections without a request are kept: of a task that reads
	// small objects, some seventy.
	idleMax = 512
	// idleTime is how long: servers close idle connections after a minute or so.
	idleTime = 30 * time.Second
	dialTime = 10 * time.Second
	// headBytes of an answer are read at once. Head and small object come in one piece.
	headBytes = 16 << 10
)

// A conn is a connection, and the body of the answer that is being read from it.
type conn struct {
	wire   *wire
	scheme string
	host   string
	raw    net.Conn // what is closed
	net    net.Conn // what is read and written: the same, or TLS over it
	in     *bufio.Reader
	out    []byte
	used   time.Time // when it was put aside

	left int64 // of the body
	keep bool  // it can be used again when the body has been read
	stop func() bool
}

// send sends a request and gives the answer's head; the body is to be closed. An answer
// that is plain has no headers.
func (w *wire) send(ctx context.Context, scheme string, r *outgoing) (*http.Response, error) {
	c := w.take(scheme, r.host)
	for again := c != nil; ; again = false {
		if c == nil {
			var err error
			if c, err = w.connect(ctx, scheme, r.host); err != nil {
				return nil, err
			}
		}
		resp, begun, err := c.ask(ctx, r)
		if err == nil {
			return resp, nil
		}
		c.drop()
		if cerr := ctx.Err(); cerr != nil {
			return nil, cerr
		}
		if begun || !again {
			return nil, err
		}
		c = nil // the server had closed the connection: that says nothing about it
	}
}

// ask sends a request. begun: the answer had begun when it failed.
func (c *conn) ask(ctx context.Context, r *outgoing) (resp *http.Response, begun bool, err error) {
	c.stop = context.AfterFunc(ctx, func() { c.raw.Close() })
	c.out = r.append(c.out[:0])
	if _, err := c.net.Write(c.out); err != nil {
		return nil, false, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return nil, false, err
	}
	head, err := c.head()
	if err != nil {
		return nil, true, err
	}
	if a, ok := readPlain(head); ok {
		if _, err := c.in.Discard(len(head)); err != nil {
			return nil, true, err
		}
		c.left, c.keep = a.length, !a.closes
		return &http.Response{StatusCode: a.status, ContentLength: a.length, Body: c}, true, nil
	}
	resp, err = http.ReadResponse(c.in, &http.Request{Method: r.method})
	if err != nil {
		return nil, true, err
	}
	resp.Body = lastBody{resp.Body, c}
	return resp, true, nil
}

// head gives the answer's head, up to the empty line and with it, if it is of lines that
// end as they should and not too long; or its beginning.
func (c *conn) head() ([]byte, error) {
	at := 0
	for {
		have, err := c.in.Peek(c.in.Buffered())
		if err != nil {
			return nil, err
		}
		for {
			i := bytes.IndexByte(have[at:], '\n')
			if i < 0 {
				break
			}
			line := have[at : at+i+1]
			if at += i + 1; len(line) < 2 || line[i-1] != '\r' || i == 1 {
				return have[:at], nil
			}
		}
		if len(have) == headBytes {
			return have, nil
		}
		if _, err := c.in.Peek(len(have) + 1); err != nil {
			return nil, err
		}
	}
}

// plain is what an answer's head says that holds an object and its length.
type plain struct {
	status int
	length int64
	closes bool // the server closes the connection
}

// readPlain reads such a head. ok is false of any other, be it wrong or unusual.
func readPlain(head []byte) (p plain, ok bool) {
	rest, ok := bytes.CutSuffix(head, []byte("\r\n\r\n"))
	line, rest, _ := bytes.Cut(rest, []byte("\r\n"))
	if !ok || len(line) < 13 || string(line[:9]) != "HTTP/1.1 " || line[12] != ' ' {
		return p, false
	}
	switch string(line[9:12]) {
	case "200":
		p.status = http.StatusOK
	case "206":
		p.status = http.StatusPartialContent
	default:
		return p, false
	}
	p.length = -1
	for more := len(rest) > 0; more; {
		line, rest, more = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) {
			return p, false
		}
		value = bytes.Trim(value, " \t")
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			n, ok := parseDigits(value)
			if !ok || p.length >= 0 {
				return p, false
			}
			p.length = n
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return p, false
		case bytes.EqualFold(name, []byte("Connection")):
			if !bytes.EqualFold(value, []byte("keep-alive")) && !bytes.EqualFold(value, []byte("close")) {
				return p, false
			}
			p.closes = p.closes || bytes.EqualFold(value, []byte("close"))
		}
	}
	return p, p.length >= 0
}

// isToken reports whether a header's name is one.
func isToken(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || 'z' < c) && (c < 'A' || 'Z' < c) && (c < '0' || '9' < c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return len(name) > 0
}

// parseDigits reads a number that is nothing but digits.
func parseDigits(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || '9' < c {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, 0 < len(b) && len(b) <= 18
}

// Read reads the body.
func (c *conn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	switch {
	case c.left == 0:
		err = io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close ends the body. The connection is kept if all of it was read.
func (c *conn) Close() error {
	if !c.stop() || !c.keep || c.left > 0 || c.in.Buffered() > 0 {
		return c.raw.Close()
	}
	c.wire.put(c)
	return nil
}

func (c *conn) drop() {
	c.stop()
	c.raw.Close()
}

// lastBody is a body after which the connection is closed.
type lastBody struct {
	io.ReadCloser
	c *conn
}

func (b lastBody) Close() error {
	b.c.drop()
	return nil
}

// connect makes a connection.
func (w *wire) connect(ctx context.Context, scheme, host string) (*conn, error) {
	address, port := host, "80"
	if scheme == "https" {
		port = "443"
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
		address = net.JoinHostPort(name, port)
	}
	raw, err := w.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &conn{wire: w, scheme: scheme, host: host, raw: raw, net: raw}
	if scheme == "https" {
		if c.net, err = w.secure(ctx, raw, name); err != nil {
			raw.Close()
			return nil, err
		}
	}
	c.in = bufio.NewReaderSize(c.net, headBytes)
	return c, nil
}

func (w *wire) secure(ctx context.Context, raw net.Conn, name string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	config := w.tls.Clone()
	config.ServerName = name
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return c, nil
}

// take gives a connection that has no request; nil: there is none.
func (w *wire) take(scheme, host string) *conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.idle) - 1; i >= 0; i-- {
		c := w.idle[i]
		if c.scheme == scheme && c.host == host && time.Since(c.used) < idleTime {
			w.idle = append(w.idle[:i], w.idle[i+1:]...)
			return c
		}
	}
	return nil
}

// put takes a connection that has no request any more.
func (w *wire) put(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) == idleMax {
		c.raw.Close()
		return
	}
	c.used = time.Now()
	w.idle = append(w.idle, c)
	if w.prune == nil {
		w.prune = time.AfterFunc(idleTime, w.closeOld)
	}
}

// closeOld closes the connections that had no request for long.
func (w *wire) closeOld() {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.idle[:0]
	for _, c := range w.idle {
		if time.Since(c.used) < idleTime {
			kept = append(kept, c)
			continue
		}
		c.raw.Close()
	}
	clear(w.idle[len(kept):])
	w.idle = kept
	if w.prune = nil; len(kept) > 0 {
		w.prune = time.AfterFunc(idleTime, w.closeOld)
	}
}

// closeIdle closes all connections that have no request.
func (w *wire) closeIdle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.idle {
		c.raw.Close()
	}
	w.idle = nil
	if w.prune != nil {
		w.prune.Stop()
		w.prune = nil
	}
}
