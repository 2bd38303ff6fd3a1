package s3

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
)

// TestGetOfOddNames reads objects whose names have to be encoded, whole and in parts,
// once by way of the client library and then without it.
func TestGetOfOddNames(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		fs := connect(t, s.Endpoint, s, quick())
		for i, name := range []string{"a b", "a+b", "a%20b", "q?x=1&y", "ü/中", "'(*)~", "k=v/p-0.txt", "#", "a;b,c:d@e$f!"} {
			name, data := "odd/"+name, noise(byte(i), 1000+i)
			if err := fs.CreateIfAbsent(t.Context(), name, data); err != nil {
				t.Fatal(err)
			}
			var tag string
			for info, err := range fs.List(t.Context(), name) {
				if err != nil {
					t.Fatal(err)
				}
				tag = info.ETag
			}
			if _, _, ok := fs.known(t.Context()); !ok {
				t.Fatal("the server that is known is not")
			}
			send, wire := fs.getter.send, fs.getter.wire
			for _, own := range []bool{true, false} {
				if !own {
					fs.getter.wire = nil
					fs.getter.send = round(func(*http.Request) (*http.Response, error) {
						return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil // for the library to say
					})
				}
				for _, at := range []int{0, 7} {
					got := make([]byte, len(data)-at)
					f := fs.file(t.Context(), name, int64(len(data)), tag)
					if err := f.fetch(t.Context(), got, int64(at)); err != nil || !bytes.Equal(got, data[at:]) {
						t.Errorf("%q from %d, without the library %v: %v", name, at, own, err)
					}
					if err := f.Close(); err != nil {
						t.Error(err)
					}
				}
			}
			fs.getter.send, fs.getter.wire = send, wire
		}
	})
}

type round func(*http.Request) (*http.Response, error)

func (r round) RoundTrip(q *http.Request) (*http.Response, error) { return r(q) }

// TestGetLeavesTheRestToTheLibrary counts requests: one for an object that is there, one
// more for what only the library understands, none more for a server that is busy.
func TestGetLeavesTheRestToTheLibrary(t *testing.T) {
	var status, requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Query().Has("list-type") {
			fmt.Fprint(w, `<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`)
			return
		}
		if n := status.Load(); n != 200 {
			w.Header().Set("X-Amz-Request-Id", "REQUEST-9")
			w.WriteHeader(int(n))
			if r.URL.Path != "/bucket/mute" {
				fmt.Fprintf(w, "<Error><Code>Code%d</Code><Message>so %s</Message></Error>", n, r.Header.Get("Authorization"))
			}
			return
		}
		fmt.Fprint(w, "0123456789")
	}))
	defer server.Close()
	set := quick()
	set.budget, set.first = 0, 0 // one attempt
	fs := connect(t, server.URL, services.S3Server{AccessKey: canaryID, SecretKey: canary, Region: "eu-west-1"}, set)
	status.Store(404)
	for _, err := range fs.List(t.Context(), "reached") { // the first request is the library's
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		status, requests int32
		name             string
		is               error
		says             string
	}{
		{200, 1, "o", nil, ""},
		{503, 1, "o", storage.ErrTransient, "Code503: so AWS4-HMAC-SHA256 Credential=[redacted]/"},
		{500, 1, "o", storage.ErrTransient, "Code500: so "},
		{503, 1, "mute", storage.ErrTransient, "503 Service Unavailable"},
		{429, 1, "o", storage.ErrTransient, "Code429: so "},
		{404, 2, "mute", storage.ErrNotExist, "it was removed since"},
		{412, 2, "mute", storage.ErrChanged, "it was replaced since"},
		{403, 2, "o", storage.ErrPermission, "Code403: so "},
		{400, 2, "o", nil, "Code400: so "},
		{200, 1, "o", nil, ""},
	} {
		status.Store(c.status)
		requests.Store(0)
		got := make([]byte, 10)
		f := fs.file(t.Context(), c.name, 10, "tag")
		err := f.fetch(t.Context(), got, 0)
		if cerr := f.Close(); cerr != nil {
			t.Error(cerr)
		}
		if n := requests.Load(); n != c.requests {
			t.Errorf("%d: %d requests, want %d", c.status, n, c.requests)
		}
		if c.status == 200 {
			if err != nil || string(got) != "0123456789" {
				t.Errorf("got %q, %v", got, err)
			}
			continue
		}
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "[request REQUEST-9]") && c.status != 404 && c.status != 412 {
			t.Errorf("%d: got %v, want one that says %q", c.status, err, c.says)
		}
		safe(t, c.name, err)
	}
}
