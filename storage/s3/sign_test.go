package s3

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// TestSign compares signatures with the client library's, which signs at the time it has.
func TestSign(t *testing.T) {
	var s signing
	for _, c := range []struct {
		name, host, path, query, region string
		who                             credentials.Value
		headers                         map[string]string
	}{
		{"plain", "127.0.0.1:9000", "/bucket/a/b.txt", "", "us-east-1", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s1"}, nil},
		{"another secret", "127.0.0.1:9000", "/bucket/a/b.txt", "", "us-east-1", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2"}, nil},
		{"another region", "b.s3.eu-west-1.amazonaws.com", "/b.txt", "", "eu-west-1", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2"}, nil},
		{"a token", "h", "/b/k", "", "r", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2", SessionToken: "t"}, nil},
		{"a range of a version", "h", "/b/k", "", "r", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2", SessionToken: "t"},
			map[string]string{"Range": "bytes=5-9", "If-Match": `"0815"`, "User-Agent": "x"}},
		{"an odd name", "h", "/b/a b+c=d&e?f%20g'(h)*~ü中", "", "r", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2"}, nil},
		{"a query", "h", "/b/", "list-type=2&prefix=a%20b%2Fc&start-after=", "r", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2"}, nil},
	} {
		req, err := http.NewRequest(http.MethodGet, "http://"+c.host+s3utils.EncodePath(c.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.RawQuery = c.query
		req.Header.Set("X-Amz-Content-Sha256", noBody)
		ours := &outgoing{method: http.MethodGet, host: c.host, path: string(encodePath(nil, c.path)), query: c.query, etag: strings.Trim(c.headers["If-Match"], `"`), bytes: c.headers["Range"]}
		for k, v := range c.headers {
			req.Header.Set(k, v)
		}
		want := signer.SignV4(*req, c.who.AccessKeyID, c.who.SecretAccessKey, c.who.SessionToken, c.region).Header
		at, err := time.Parse(signTime, want.Get("X-Amz-Date"))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // with a new key; with one that is kept
			s.sign(ours, c.who, c.region, at)
			parsed, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(ours.append(nil))))
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Method != http.MethodGet || parsed.Host != c.host || parsed.URL.Path != c.path || parsed.URL.RawQuery != c.query {
				t.Errorf("%s: what is sent begins with %q", c.name, ours.append(nil))
			}
			for _, k := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token", "Range", "If-Match"} {
				if got := ours.header().Get(k); got != want.Get(k) || parsed.Header.Get(k) != got {
					t.Errorf("%s: %s is\n%q, and sent as\n%q, want\n%q", c.name, k, got, parsed.Header.Get(k), want.Get(k))
				}
			}
		}
		before := s.mac
		s.sign(ours, c.who, c.region, at.Add(24*time.Hour))
		if before == s.mac {
			t.Errorf("%s: the key of one day signs the next day's requests", c.name)
		}
	}
}

// TestEncodePath compares with the client library, for which the server's word stands in
// TestGetOfOddNames.
func TestEncodePath(t *testing.T) {
	all := make([]byte, 0, 128)
	for c := range byte(128) {
		all = append(all, c)
	}
	for _, path := range []string{"", "/", "/bucket/a/b-c_d.e~f", "/" + string(all), "/ü/中/\U0001F3BC"} {
		if got, want := string(encodePath(nil, path)), s3utils.EncodePath(path); got != want {
			t.Errorf("%q is encoded as %q, want %q", path, got, want)
		}
	}
}
