package services

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// do sends one signed request and returns the answer's first megabytes. query is as it
// is signed: in order, and escaped. It knows just enough of the signature's fourth
// version to see what a server has: the S3 client itself is what the tests are about.
func (s S3Server) do(ctx context.Context, method, path, query, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.Endpoint+path+"?"+query, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Format("20060102T150405Z")
	scope := now[:8] + "/" + s.Region + "/s3/aws4_request"
	content := hexSum(body)
	const headers = "host;x-amz-content-sha256;x-amz-date"
	canonical := strings.Join([]string{method, path, query, "host:" + req.Host, "x-amz-content-sha256:" + content, "x-amz-date:" + now, "", headers, content}, "\n")
	key := []byte("AWS4" + s.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+now+"\n"+scope+"\n"+hexSum(canonical))
	req.Header.Set("X-Amz-Content-Sha256", content)
	req.Header.Set("X-Amz-Date", now)
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", s.AccessKey, scope, headers, signature))
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %.1000s", resp.Status, text)
	}
	return text, err
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
