package s3

import (
	"net/http"
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
		name, host, path, region string
		who                      credentials.Value
		headers                  map[string]string
	}{
		{"plain", "127.0.0.1:9000", "/bucket/a/b.txt", "us-east-1", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s1"}, nil},
		{"another secret", "127.0.0.1:9000", "/bucket/a/b.txt", "us-east-1", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2"}, nil},
		{"another region", "b.s3.eu-west-1.amazonaws.com", "/b.txt", "eu-west-1", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2"}, nil},
		{"a token", "h", "/b/k", "r", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2", SessionToken: "t"}, nil},
		{"a range of a version", "h", "/b/k", "r", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2", SessionToken: "t"},
			map[string]string{"Range": "bytes=5-9", "If-Match": `"0815"`, "User-Agent": "x"}},
		{"an odd name", "h", "/b/a b+c=d&e?f%20g'(h)*~ü中", "r", credentials.Value{AccessKeyID: "k1", SecretAccessKey: "s2"}, nil},
	} {
		req, err := http.NewRequest(http.MethodGet, "http://"+c.host+s3utils.EncodePath(c.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Content-Sha256", noBody)
		ours := http.Header{}
		for k, v := range c.headers {
			req.Header.Set(k, v)
			ours.Set(k, v)
		}
		want := signer.SignV4(*req, c.who.AccessKeyID, c.who.SecretAccessKey, c.who.SessionToken, c.region).Header
		at, err := time.Parse(signTime, want.Get("X-Amz-Date"))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // with a new key; with one that is kept
			s.sign(http.MethodGet, c.host, s3utils.EncodePath(c.path), ours, c.who, c.region, at)
			for _, k := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token"} {
				if ours.Get(k) != want.Get(k) {
					t.Errorf("%s: %s is\n%q, want\n%q", c.name, k, ours.Get(k), want.Get(k))
				}
			}
		}
		before := s.key
		s.sign(http.MethodGet, c.host, c.path, ours, c.who, c.region, at.Add(24*time.Hour))
		if string(before) == string(s.key) {
			t.Errorf("%s: the key of one day signs the next day's requests", c.name)
		}
	}
}
