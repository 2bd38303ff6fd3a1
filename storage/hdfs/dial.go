package hdfs

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A line is a connection that does not wait for ever: whatever is read or written
// has to begin arriving within stall. The client library sets no deadlines of its
// own, and a stopped DataNode would hold it for good. After its first failure a
// line is closed, so that the library does not go on with it.
type line struct {
	net.Conn
	in    *bufio.Reader // the library reads in small pieces
	stall time.Duration

	mu    sync.Mutex
	limit time.Time // the library's own deadline
}

// dialer makes lines. They come from the address that DIVISI_HOST names, if it is one of
// this machine and the other end can be reached from there: a NameNode knows by it which
// DataNode is on the same host, names that one first to read from, and writes the first
// replica there.
func dialer(stall time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	var from net.Addr
	if ip := net.ParseIP(os.Getenv("DIVISI_HOST")); ip != nil {
		from = &net.TCPAddr{IP: ip}
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: min(stall, 5*time.Second), KeepAlive: 15 * time.Second, LocalAddr: from}
		conn, err := d.DialContext(ctx, network, address)
		if from != nil && unusable(err) {
			d.LocalAddr = nil
			conn, err = d.DialContext(ctx, network, address)
		}
		if err != nil {
			return nil, err
		}
		l := &line{Conn: conn, stall: stall}
		l.in = bufio.NewReaderSize(socket{l}, 64<<10)
		return l, nil
	}
}

// socket is what lies below a line's buffer.
type socket struct{ *line }

func (s socket) Read(p []byte) (int, error) {
	if err := s.until(s.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	return s.Conn.Read(p)
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	if err != nil {
		l.Conn.Close()
	}
	return n, err
}

func (l *line) Write(p []byte) (int, error) {
	err := l.until(l.Conn.SetWriteDeadline)
	n := 0
	if err == nil {
		n, err = l.Conn.Write(p)
	}
	if err != nil {
		l.Conn.Close()
	}
	return n, err
}

// until sets the deadline of one call.
func (l *line) until(set func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := time.Now().Add(l.stall)
	if !l.limit.IsZero() && l.limit.Before(t) {
		t = l.limit
	}
	return set(t)
}

// SetDeadline bounds all calls from now on, those under way too.
func (l *line) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = t
	if t.IsZero() {
		return nil // the calls set their own
	}
	return l.Conn.SetDeadline(t)
}

// unusable says whether a connection failed because of where it was to come from: another
// machine's address, of another kind, or one with no way to the other end.
func unusable(err error) bool {
	var wrong *net.AddrError
	return errors.As(err, &wrong) || slices.ContainsFunc(
		[]error{syscall.EADDRNOTAVAIL, syscall.EINVAL, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EAFNOSUPPORT},
		func(e error) bool { return errors.Is(err, e) })
}

// unknownHost says whether a name has no address, which no waiting changes.
func unknownHost(err error) bool {
	d, ok := errors.AsType[*net.DNSError](err)
	return ok && d.IsNotFound
}
