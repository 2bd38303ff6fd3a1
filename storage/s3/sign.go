package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	signAlgorithm = "AWS4-HMAC-SHA256"
	signTime      = "20060102T150405Z"
	noBody        = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256 of nothing
)

// An outgoing request has no body, and all its headers but the user agent are signed.
type outgoing struct {
	method      string
	host        string
	path, query string // encoded, and the query in order
	etag        string // what an object has to have; "": any
	bytes       string // the value of Range; "": all

	// What signing adds.
	date, token, authorization string
}

// A header is one in the order they are signed in.
type header struct{ name, signed, value string }

// headers are those that are signed, but for the host's.
func (r *outgoing) headers() [5]header {
	etag := r.etag
	if etag != "" {
		etag = `"` + etag + `"`
	}
	return [...]header{
		{"If-Match", "if-match", etag}, {"Range", "range", r.bytes}, {"X-Amz-Content-Sha256", "x-amz-content-sha256", noBody},
		{"X-Amz-Date", "x-amz-date", r.date}, {"X-Amz-Security-Token", "x-amz-security-token", r.token},
	}
}

// header is all of them for a client that wants them so.
func (r *outgoing) header() http.Header {
	h := http.Header{"User-Agent": {userAgent}, "Authorization": {r.authorization}}
	for _, one := range r.headers() {
		if one.value != "" {
			h[one.name] = []string{one.value}
		}
	}
	return h
}

// append writes the request's head as it is sent.
func (r *outgoing) append(out []byte) []byte {
	out = append(append(append(out, r.method...), ' '), r.path...)
	if r.query != "" {
		out = append(append(out, '?'), r.query...)
	}
	out = append(append(out, " HTTP/1.1\r\nHost: "...), r.host...)
	out = append(append(out, "\r\nUser-Agent: "...), userAgent...)
	for _, one := range r.headers() {
		if one.value != "" {
			out = append(append(append(append(out, "\r\n"...), one.name...), ": "...), one.value...)
		}
	}
	return append(append(append(out, "\r\nAuthorization: "...), r.authorization...), "\r\n\r\n"...)
}

// signing signs requests (AWS Signature Version 4). What it signs with changes once a
// day, and is kept.
type signing struct {
	mu                  sync.Mutex
	secret, day, region string
	mac                 hash.Hash // with the key of these three
	text                []byte    // what is signed; scratch
}

// sign puts a signature into a request.
func (s *signing) sign(r *outgoing, who credentials.Value, region string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.date, r.token = now.UTC().Format(signTime), who.SessionToken
	day := r.date[:8]
	s.keep(who.SecretAccessKey, day, region)
	text := append(append(append(s.text[:0], r.method...), '\n'), r.path...)
	text = append(append(append(text, '\n'), r.query...), "\nhost:"...)
	text = append(append(text, r.host...), '\n')
	names := make([]byte, 0, 96)
	names = append(names, "host"...)
	for _, one := range r.headers() {
		if one.value != "" {
			names = append(append(names, ';'), one.signed...)
			text = append(append(append(append(text, one.signed...), ':'), one.value...), '\n')
		}
	}
	text = append(append(append(append(text, '\n'), names...), '\n'), noBody...)
	sum := sha256.Sum256(text)
	scope := day + "/" + region + "/s3/aws4_request"
	text = append(append(append(text[:0], signAlgorithm...), '\n'), r.date...)
	text = append(append(append(text, '\n'), scope...), '\n')
	text = hex.AppendEncode(text, sum[:])
	s.mac.Reset()
	s.mac.Write(text)
	mac := s.mac.Sum(text[:0])
	s.text = text
	r.authorization = signAlgorithm + " Credential=" + who.AccessKeyID + "/" + scope +
		", SignedHeaders=" + string(names) + ", Signature=" + hex.EncodeToString(mac)
}

// keep makes the key that signs on a day in a region.
func (s *signing) keep(secret, day, region string) {
	if s.mac != nil && s.secret == secret && s.day == day && s.region == region {
		return
	}
	key := []byte("AWS4" + secret)
	for _, part := range []string{day, region, "s3", "aws4_request"} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	s.secret, s.day, s.region, s.mac = secret, day, region, hmac.New(sha256.New, key)
}

// encodePath adds a path as it stands in a request and is signed.
func encodePath(out []byte, path string) []byte {
	for i := range len(path) {
		c := path[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '/' || c == '-' || c == '_' || c == '.' || c == '~' {
			out = append(out, c)
			continue
		}
		const digits = "0123456789ABCDEF"
		out = append(out, '%', digits[c>>4], digits[c&15])
	}
	return out
}
