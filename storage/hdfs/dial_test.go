package hdfs

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/storage"
)

// TestLine takes a peer that says nothing: a read ends, and the connection with it.
func TestLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := dialer(50*time.Millisecond)(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from a silent peer: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after a read that failed: %v", err)
	}
	// A deadline in the past ends calls that are under way.
	conn, err = dialer(time.Hour)(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ended := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	if err := conn.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read under way: %v", err)
	}
}

// TestNoNameNode shows that an unknown host is told at once, and one that does not
// answer after the patience that is due.
func TestNoNameNode(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	configure(t)
	c, err := configured(address)
	if err != nil {
		t.Fatal(err)
	}
	d := newFS(c)
	d.unmet = 200 * time.Millisecond
	_, err = d.Stat(t.Context(), "/a")
	if is(t, "no NameNode", err, storage.ErrTransient); !strings.Contains(err.Error(), address) {
		t.Errorf("%v does not name %s", err, address)
	}
}

// TestFromHost: connections come from the host's own address where it is one, and are
// made all the same where it is not, or does not lead there.
func TestFromHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	own := "127.0.0.1"
	if runtime.GOOS == "linux" {
		own = "127.0.0.3" // all of 127/8 is there
	}
	for host, want := range map[string]string{own: own, "": "127.0.0.1", "datanode.example": "127.0.0.1", "192.0.2.7": "127.0.0.1", "2001:db8::7": "127.0.0.1"} {
		t.Setenv("DIVISI_HOST", host)
		conn, err := dialer(time.Second)(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Errorf("%q: %v", host, err)
			continue
		}
		conn.Close()
		other, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := other.RemoteAddr().(*net.TCPAddr).IP.String(); got != want {
			t.Errorf("%q: the connection comes from %s, want %s", host, got, want)
		}
		other.Close()
	}
}
