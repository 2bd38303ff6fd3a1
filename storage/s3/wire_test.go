package s3

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/services"
)

// script answers each request on a connection with the next text and, when there is no
// more, closes the connection.
func script(t *testing.T, connections ...[]string) (address string, accepted *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(func() { l.Close(); work.Wait() })
	accepted = &atomic.Int32{}
	work.Go(func() {
		for _, texts := range connections {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			work.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for _, text := range texts {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					if _, err := io.WriteString(c, text); err != nil {
						return
					}
				}
			})
		}
	})
	return l.Addr().String(), accepted
}

func newWire(t *testing.T) *wire {
	w := &wire{dial: (&net.Dialer{Timeout: dialTime}).DialContext}
	t.Cleanup(w.closeIdle)
	return w
}

func (w *wire) read(ctx context.Context, host string) (status int, body string, err error) {
	resp, err := w.send(ctx, "http", &outgoing{method: http.MethodGet, host: host, path: "/b/k"})
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && resp.ContentLength >= 0 && int64(len(got)) != resp.ContentLength {
		err = fmt.Errorf("%d bytes of %d", len(got), resp.ContentLength)
	}
	return resp.StatusCode, string(got), err
}

func (w *wire) kept() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.idle)
}

func TestWireKeepsConnections(t *testing.T) {
	large := strings.Repeat("0123456789", 10_000)
	for _, c := range []struct {
		name, answer string
		status       int
		body         string
		kept         int
	}{
		{"plain", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", 1},
		{"large", "HTTP/1.1 206 Partial Content\r\ncontent-length:100000\r\nConnection: keep-alive\r\n\r\n" + large, 206, large, 1},
		{"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", 1},
		{"the last", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", 200, "abc", 0},
		{"more than it says", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", 200, "abc", 0},
		{"in parts", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, "abc", 0},
		{"without a length", "HTTP/1.1 200 OK\r\n\r\nabc", 200, "abc", 0},
		{"old", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", 0},
		{"lines that end otherwise", "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", 200, "abc", 0},
		{"a long head", "HTTP/1.1 200 OK\r\nX: " + large + "\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", 0},
		{"an error", "HTTP/1.1 503 Slow Down\r\nContent-Length: 3\r\n\r\nabc", 503, "abc", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t)
			first := []string{c.answer, c.answer}
			host, accepted := script(t, first[:1+c.kept], []string{c.answer})
			for range 2 {
				status, body, err := w.read(t.Context(), host)
				if err != nil || status != c.status || body != c.body {
					t.Fatalf("%d %.20q %v", status, body, err)
				}
				if n := w.kept(); n != c.kept {
					t.Errorf("%d connections are kept, want %d", n, c.kept)
				}
			}
			if n := int(accepted.Load()); n != 2-c.kept {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestWireAsksAgain where the server had closed a connection that was kept, and there
// alone.
func TestWireAsksAgain(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
	w := newWire(t)
	host, accepted := script(t, []string{good}, []string{good, "HTTP/1.1 200 OK\r\nConte"}, []string{""})
	for range 2 {
		if _, body, err := w.read(t.Context(), host); err != nil || body != "abc" {
			t.Fatal(body, err)
		}
	}
	if n := accepted.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	for _, why := range []string{"an answer that had begun", "a new connection"} {
		if _, body, err := w.read(t.Context(), host); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %q, %v", why, body, err)
		}
	}
	if n := accepted.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func TestWireCutShort(t *testing.T) {
	w := newWire(t)
	host, _ := script(t, []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"})
	if _, body, err := w.read(t.Context(), host); !errors.Is(err, io.ErrUnexpectedEOF) || body != "abc" {
		t.Errorf("%q, %v", body, err)
	}
	if n := w.kept(); n != 0 {
		t.Errorf("%d connections are kept", n)
	}
}

// TestWireCancelled: a request ends when it is cancelled, at any point of it, and its
// connection is not used again.
func TestWireCancelled(t *testing.T) {
	for _, begun := range []string{"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var work sync.WaitGroup
		work.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
			}
			if _, err := io.WriteString(c, begun); err != nil {
				t.Error(err)
			}
			cancel(errStalled)
			_, _ = io.Copy(io.Discard, c) // until the other end has closed it
		})
		w := newWire(t)
		if _, body, err := w.read(ctx, l.Addr().String()); err == nil {
			t.Errorf("after %q: %q", begun, body)
		}
		work.Wait()
		l.Close()
		if n := w.kept(); n != 0 {
			t.Errorf("after %q %d connections are kept", begun, n)
		}
	}
}

// TestWireClosesOld: connections that had no request for long are closed.
func TestWireClosesOld(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
	w := newWire(t)
	host, accepted := script(t, []string{good, good}, []string{good})
	read := func() {
		if _, body, err := w.read(t.Context(), host); err != nil || body != "abc" {
			t.Fatal(body, err)
		}
	}
	read()
	w.idle[0].used = time.Now().Add(-idleTime)
	read() // not over that one
	if n := accepted.Load(); n != 2 || w.kept() != 2 {
		t.Errorf("%d connections, %d kept", n, w.kept())
	}
	w.closeOld()
	if n := w.kept(); n != 1 || w.prune == nil {
		t.Errorf("%d connections are kept, and the next look for old ones is %v", n, w.prune)
	}
	w.closeIdle()
	if n := w.kept(); n != 0 || w.prune != nil {
		t.Errorf("%d connections are kept, and the next look for old ones is %v", n, w.prune)
	}
}

// TestWireOverTLS reads over TLS as newFS sets it up, and refuses a certificate that
// nobody vouches for.
func TestWireOverTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	host, authorities := server.Listener.Addr().String(), filepath.Join(t.TempDir(), "authorities.pem")
	if err := os.WriteFile(authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, trusted := range []bool{true, false} {
		bundle := ""
		if trusted {
			bundle = authorities
		}
		transport, err := newTransport(bundle)
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{dial: transport.DialContext, tls: transport.TLSClientConfig}
		t.Cleanup(w.closeIdle)
		for range 2 {
			resp, err := w.send(t.Context(), "https", &outgoing{method: http.MethodGet, host: host, path: "/b/k"})
			if !trusted {
				if err == nil || !strings.Contains(err.Error(), "certificate") {
					t.Errorf("got %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != "/b/k" || w.kept() != 1 {
				t.Errorf("%q, %v, %d connections are kept", got, err, w.kept())
			}
		}
	}
}

// FuzzPlainHead: what is taken for a plain head is what net/http reads in it.
func FuzzPlainHead(f *testing.F) {
	for _, head := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\ncontent-length:7 \r\nConnection: close\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n folded\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n",
	} {
		f.Add(head)
	}
	f.Fuzz(func(t *testing.T, head string) {
		p, ok := readPlain([]byte(head))
		if !ok {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), &http.Request{Method: http.MethodGet})
		if err != nil {
			t.Fatalf("%q: net/http says %v", head, err)
		}
		if resp.StatusCode != p.status || resp.ContentLength != p.length || resp.Close != p.closes || len(resp.TransferEncoding) > 0 {
			t.Fatalf("%q is read as %+v, want %+v", head, p, resp)
		}
	})
}

// TestGetTellsNothing: what fails below HTTP is said without a word of the request.
func TestGetTellsNothing(t *testing.T) {
	host, _ := script(t,
		[]string{"HTTP/1.1 200 OK\r\nContent-Length: 69\r\n\r\n<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"},
		[]string{"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999999\r\n\r\n"},
		[]string{"nonsense\r\n\r\n"})
	set := quick()
	set.budget, set.first = 0, 0 // one attempt
	fs := connect(t, "http://"+host, services.S3Server{AccessKey: canaryID, SecretKey: canary, Region: "eu-west-1"}, set)
	for _, err := range fs.List(t.Context(), "reached/") {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		f := fs.file(t.Context(), "o", 10, "tag")
		err := f.fetch(t.Context(), make([]byte, 10), 0)
		if err == nil {
			t.Error("no error")
		}
		safe(t, "o", err)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
