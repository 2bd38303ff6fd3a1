package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// A getter asks for objects, and for lists of them, with less work than the client
// library, for which a small object is several times the work of its bytes. It knows the
// simple case alone: a server that was reached before and answers with what was asked
// for, or is busy. All else, as there are redirects, other regions, names that are not
// there, credentials to be fetched, is left to the library, whose word counts.
type getter struct {
	wire    *wire // nil: all goes over send
	send    http.RoundTripper
	proxy   func(*http.Request) (*url.URL, error)
	keys    *credentials.Credentials
	signing signing
	where   atomic.Pointer[place] // where the bucket is, once that is known
}

// place is where a bucket's objects are.
type place struct {
	scheme, host string
	path         string // before an object's name
	region       string
	proxied      bool // a proxy is between, which is net/http's to talk to
}

// ranged is what is wanted of an object: all of it, or bytes from one to before another.
type ranged struct {
	name, etag string
	from, to   int64
	whole      bool
}

// errorMax is how much of an answer that is an error is read.
const errorMax = 1 << 20

// A list's answer is read in parts, and is no longer than that: a thousand names of 1,024
// bytes, each of which may be encoded in three, and as much about each.
const (
	answerPart = 64 << 10
	answerMax  = 32 << 20
)

// get gives the bytes of an object and how many there are.
func (f *FS) get(ctx context.Context, r ranged) (io.ReadCloser, int64, error) {
	if at, who, ok := f.known(ctx); ok {
		resp, err := f.getter.ask(ctx, at, who, r)
		if err != nil {
			return nil, 0, err
		}
		if resp != nil {
			return resp.Body, resp.ContentLength, nil
		}
		f.getter.where.Store(nil) // the library may learn that it is elsewhere
	}
	var opts minio.GetObjectOptions
	if !r.whole {
		if err := opts.SetRange(r.from, r.to-1); err != nil {
			return nil, 0, &fault{text: err.Error()}
		}
	}
	if r.etag != "" {
		if err := opts.SetMatchETag(r.etag); err != nil {
			return nil, 0, &fault{text: err.Error()}
		}
	}
	body, info, _, err := f.core.GetObject(ctx, f.bucket, r.name, opts)
	return body, info.Size, err
}

// known tells where objects are and who asks for them, if that is the simple case. The
// first request of all is not: of a wrong address the library knows better what is wrong.
func (f *FS) known(ctx context.Context) (*place, credentials.Value, bool) {
	select {
	case <-f.alive:
	default:
		return nil, credentials.Value{}, false
	}
	if f.getter.keys.IsExpired() {
		return nil, credentials.Value{}, false
	}
	who, err := f.getter.keys.GetWithContext(nil)
	if err != nil || who.AccessKeyID == "" || who.SecretAccessKey == "" || who.SignerType != credentials.SignatureDefault && who.SignerType != credentials.SignatureV4 {
		return nil, who, false
	}
	at := f.getter.where.Load()
	if at == nil {
		if at = f.locate(ctx); at == nil {
			return nil, who, false
		}
		f.getter.where.Store(at)
	}
	return at, who, true
}

// locate learns from an address that the library signs where it would ask; nil: not known.
func (f *FS) locate(ctx context.Context) *place {
	if s3utils.IsS3ExpressBucket(f.bucket) {
		return nil // whose credentials are its own
	}
	u, err := f.core.PresignedGetObject(ctx, f.bucket, "k", time.Hour, nil)
	if err != nil {
		return nil
	}
	path, ok := strings.CutSuffix(u.Path, "/k")
	// KEY/DAY/REGION/s3/aws4_request
	scope := strings.Split(u.Query().Get("X-Amz-Credential"), "/")
	if n := len(scope); ok && n >= 5 && scope[n-2] == "s3" {
		proxy, err := f.getter.proxy(&http.Request{Method: http.MethodGet, URL: u})
		return &place{scheme: u.Scheme, host: u.Host, path: path + "/", region: scope[n-3], proxied: proxy != nil || err != nil}
	}
	return nil
}

// ask asks for an object. Neither an answer nor an error: ask the library.
func (g *getter) ask(ctx context.Context, at *place, who credentials.Value, r ranged) (*http.Response, error) {
	q := &outgoing{method: http.MethodGet, host: at.host, path: string(encodePath(make([]byte, 0, 128), at.path+r.name)), etag: r.etag}
	if !r.whole {
		q.bytes = fmt.Sprintf("bytes=%d-%d", r.from, r.to-1)
	}
	g.signing.sign(q, who, at.region, time.Now())
	send := g.over
	if g.wire != nil && !at.proxied {
		send = g.wire.send
	}
	resp, err := send(ctx, at.scheme, q)
	return g.judge(resp, err)
}

// list asks for a page of a listing. Neither an answer nor an error: ask the library.
func (g *getter) list(c call, at *place, who credentials.Value, query url.Values) ([]byte, error) {
	q := &outgoing{method: http.MethodGet, host: at.host, path: string(encodePath(nil, at.path)), query: strings.ReplaceAll(query.Encode(), "+", "%20")}
	g.signing.sign(q, who, at.region, time.Now())
	resp, err := g.over(c.ctx, at.scheme, q) // it is long, and its length is often not told
	if resp, err = g.judge(resp, err); resp == nil || err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body := bytes.NewBuffer(make([]byte, 0, 512<<10))
	for {
		n, err := io.CopyN(body, resp.Body, answerPart)
		if n > 0 {
			c.moved()
		}
		switch {
		case errors.Is(err, io.EOF):
			return body.Bytes(), nil
		case err != nil:
			return nil, err
		case body.Len() > answerMax:
			return nil, &fault{final: true, text: fmt.Sprintf("a page of the list is longer than %d bytes", answerMax)}
		}
	}
}

// over sends a request with net/http.
func (g *getter) over(ctx context.Context, scheme string, q *outgoing) (*http.Response, error) {
	path, err := url.PathUnescape(q.path)
	if err != nil {
		return nil, err
	}
	req := &http.Request{Method: q.method, URL: &url.URL{Scheme: scheme, Host: q.host, Path: path, RawPath: q.path, RawQuery: q.query},
		Host: q.host, Header: q.header(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return g.send.RoundTrip(req.WithContext(ctx))
}

// judge says what an answer means: as ask.
func (g *getter) judge(resp *http.Response, err error) (*http.Response, error) {
	switch {
	case err != nil && strings.Contains(err.Error(), "EOF"):
		return nil, errors.New("the server closed the connection")
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent:
		return resp, nil
	}
	defer func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, errorMax)) // the connection can be used again
		resp.Body.Close()
	}()
	if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		return nil, nil
	}
	// One that is busy is not asked again at once.
	e := minio.ErrorResponse{}
	if xml.NewDecoder(io.LimitReader(resp.Body, errorMax)).Decode(&e) != nil || e.Code == "" {
		e.Code, e.Message = resp.Status, resp.Status
	}
	e.StatusCode = resp.StatusCode
	if e.RequestID == "" {
		e.RequestID = resp.Header.Get("X-Amz-Request-Id")
	}
	return nil, e
}
