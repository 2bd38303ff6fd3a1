package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	signAlgorithm = "AWS4-HMAC-SHA256"
	signTime      = "20060102T150405Z"
	noBody        = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256 of nothing
)

// signing signs requests that have no query and no body (AWS Signature Version 4). What
// it signs with changes once a day, and is kept.
type signing struct {
	mu                  sync.Mutex
	secret, day, region string
	key                 []byte
}

// signed are the headers that a signature covers, where a request has them: all but the
// host, in the order they are signed in.
var signed = [...]struct{ header, name string }{
	{"If-Match", "if-match"}, {"Range", "range"}, {"X-Amz-Content-Sha256", "x-amz-content-sha256"},
	{"X-Amz-Date", "x-amz-date"}, {"X-Amz-Security-Token", "x-amz-security-token"},
}

// sign puts a signature into a request's headers. path is the encoded path.
func (s *signing) sign(method, host, path string, h http.Header, who credentials.Value, region string, now time.Time) {
	at := now.UTC().Format(signTime)
	day := at[:8]
	h["X-Amz-Content-Sha256"] = []string{noBody}
	h["X-Amz-Date"] = []string{at}
	if who.SessionToken != "" {
		h["X-Amz-Security-Token"] = []string{who.SessionToken}
	}
	names := "host"
	var text strings.Builder
	text.WriteString(method + "\n" + path + "\n\nhost:" + host + "\n")
	for _, c := range signed {
		if v := h[c.header]; len(v) > 0 {
			names += ";" + c.name
			text.WriteString(c.name + ":" + v[0] + "\n")
		}
	}
	text.WriteString("\n" + names + "\n" + noBody)
	scope := day + "/" + region + "/s3/aws4_request"
	sum := sha256.Sum256([]byte(text.String()))
	mac := authenticate(s.keyOf(who.SecretAccessKey, day, region), signAlgorithm+"\n"+at+"\n"+scope+"\n"+hex.EncodeToString(sum[:]))
	h["Authorization"] = []string{signAlgorithm + " Credential=" + who.AccessKeyID + "/" + scope +
		", SignedHeaders=" + names + ", Signature=" + hex.EncodeToString(mac)}
}

func (s *signing) keyOf(secret, day, region string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secret != secret || s.day != day || s.region != region {
		key := []byte("AWS4" + secret)
		for _, part := range []string{day, region, "s3", "aws4_request"} {
			key = authenticate(key, part)
		}
		s.secret, s.day, s.region, s.key = secret, day, region, key
	}
	return s.key
}

func authenticate(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
