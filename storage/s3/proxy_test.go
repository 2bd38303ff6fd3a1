package s3

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
)

// action is what the proxy does with one request.
type action int

const (
	pass       action = iota
	slowDown          // 503, not carried out
	broken            // 500, not carried out
	doneBroken        // carried out, and then 500
	reset             // the connection ends, not carried out
	doneReset         // carried out, and then the connection ends
	truncate          // half of the answer's body; of none, doneReset
	inside200         // 200 with an error in the body, not carried out; where that can be, else broken
	stall             // nothing, until the client gives up
	lostPart          // 400 InvalidPart, not carried out
	actions
)

func (a action) String() string {
	return [...]string{"pass", "503", "500", "500 when done", "reset", "reset when done", "truncated", "error in a 200", "stall", "part lost"}[a]
}

// request is what the proxy was asked.
type request struct {
	kind string // get, put, head, delete, list, uploads, begin, part, parts, complete, abort
	path string
	part string
	n    int // of the same request, from 1
	all  int // of the kind, from 1
}

func kindOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("uploads") && r.Method == http.MethodPost:
		return "begin"
	case q.Has("uploads"):
		return "uploads"
	case q.Has("list-type"):
		return "list"
	case q.Has("partNumber"):
		return "part"
	case q.Has("uploadId") && r.Method == http.MethodPost:
		return "complete"
	case q.Has("uploadId") && r.Method == http.MethodGet:
		return "parts"
	case q.Has("uploadId"):
		return "abort"
	}
	return map[string]string{"GET": "get", "PUT": "put", "HEAD": "head", "DELETE": "delete"}[r.Method]
}

// proxy stands before a server and does to requests what it is told.
type proxy struct {
	t       *testing.T
	backend *url.URL
	client  *http.Transport
	server  *httptest.Server

	mu     sync.Mutex
	decide func(request) action
	counts map[string]int // by request
	kinds  map[string]int
	faults map[action]int // those that happened
}

func newProxy(t *testing.T, backend string, decide func(request) action) *proxy {
	t.Helper()
	u, err := url.Parse(backend)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, backend: u, client: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}, decide: decide,
		counts: map[string]int{}, kinds: map[string]int{}, faults: map[action]int{}}
	p.server = httptest.NewServer(p)
	t.Cleanup(func() { p.server.Close(); p.client.CloseIdleConnections() })
	return p
}

// count is how many requests of a kind have come.
func (p *proxy) count(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kinds[kind]
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	q := request{kind: kindOf(r), path: r.URL.Path, part: r.URL.Query().Get("partNumber")}
	p.mu.Lock()
	key := fmt.Sprint(q.kind, " ", q.path, " ", q.part, r.Header.Get("Range"))
	p.counts[key]++
	p.kinds[q.kind]++
	q.n, q.all = p.counts[key], p.kinds[q.kind]
	do := p.decide(q)
	p.faults[do]++
	p.mu.Unlock()

	switch do {
	case slowDown:
		answer(w, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
		return
	case lostPart:
		answer(w, http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found.")
		return
	case broken:
		answer(w, http.StatusInternalServerError, "InternalError", "We encountered an internal error.")
		return
	case inside200:
		if q.kind == "complete" {
			answer(w, http.StatusOK, "InternalError", "We encountered an internal error.")
		} else {
			answer(w, http.StatusInternalServerError, "InternalError", "We encountered an internal error.")
		}
		return
	case reset:
		panic(http.ErrAbortHandler)
	case stall:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = p.backend.Scheme, p.backend.Host, ""
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	resp, err := p.client.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || do == doneReset || do == truncate && len(data) < 2 {
		panic(http.ErrAbortHandler)
	}
	if do == doneBroken {
		answer(w, http.StatusInternalServerError, "InternalError", "We encountered an internal error.")
		return
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	}
	w.WriteHeader(resp.StatusCode)
	if do == truncate {
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(data)
}

func answer(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Amz-Request-Id", "REQUEST-4711")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>REQUEST-4711</RequestId></Error>", code, message)
}
