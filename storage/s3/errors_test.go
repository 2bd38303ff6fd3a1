package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
)

// safe fails where a text holds what is secret.
func safe(t *testing.T, where string, values ...any) {
	t.Helper()
	for _, v := range values {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			text := fmt.Sprintf(format, v)
			for _, secret := range []string{canary, canaryToken, canaryID} {
				if strings.Contains(text, secret) {
					t.Errorf("%s: %s prints %s in %s", where, format, secret, text)
				}
			}
		}
	}
}

// everything calls all that a filesystem can and returns the errors.
func everything(ctx context.Context, fs *FS) map[string]error {
	all := map[string]error{}
	_, all["open"] = fs.Open(ctx, "k")
	_, all["create"] = fs.Create(ctx, "k")
	_, all["stat"] = fs.Stat(ctx, "k")
	all["remove"] = fs.Remove(ctx, "k")
	all["sweep"] = fs.Sweep(ctx, "k", "job")
	all["manifest"] = fs.CreateIfAbsent(ctx, "k", []byte("x"))
	s := storage.Sealed{Name: "k", Token: token{folder: ".divisi", id: attempt + "0123456789abcdef", upload: "u"}.String() + " etag"}
	all["publish"], all["discard"] = fs.Publish(ctx, s), fs.Discard(ctx, s)
	for _, err := range fs.List(ctx, "k") {
		all["list"] = err
	}
	for _, err := range fs.ListFolder(ctx, "k") {
		all["list folder"] = err
	}
	return all
}

// TestNoCredentialIsShown lets servers of all kinds of malice answer.
func TestNoCredentialIsShown(t *testing.T) {
	echo := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, "<Error><Code>Odd</Code><Message>%s %s %s %s %s</Message><RequestId>%s</RequestId></Error>",
				r.Header.Get("Authorization"), r.Header.Get("X-Amz-Security-Token"), canary, canaryToken, canaryID, "REQUEST-1")
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"400": echo(400), "403": echo(403), "500": echo(500),
		"no XML": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, canary, canaryToken, canaryID) },
		"reset":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server := httptest.NewServer(answer)
		set := quick()
		set.first, set.budget = 20*time.Millisecond, 20*time.Millisecond
		fs := connect(t, server.URL, services.S3Server{AccessKey: canaryID, SecretKey: canary, Region: "eu-west-1"}, set)
		t.Setenv("AWS_SESSION_TOKEN", canaryToken)
		for op, err := range everything(t.Context(), fs) {
			if err == nil && (name != "no XML" || op == "list" || op == "list folder") {
				t.Errorf("%s: %s succeeds", name, op)
			}
			safe(t, name+": "+op, err)
			if name == "400" && !strings.Contains(err.Error(), "[request REQUEST-1]") && op != "stat" && op != "open" && op != "publish" && op != "remove" && op != "list" {
				t.Errorf("%s does not name the request: %v", op, err)
			}
			if name[0] != 'n' && name != "reset" && op != "stat" && op != "open" && op != "publish" && op != "remove" && op != "list" && !strings.Contains(err.Error(), "[redacted]") {
				t.Errorf("%s: the server's words are missing, and this test sees nothing: %v", op, err)
			}
			if name == "500" && err != nil && !errors.Is(err, storage.ErrTransient) {
				t.Errorf("%s: %v is not transient", op, err)
			}
		}
		safe(t, name, fs, storage.Filesystem(fs), struct{ fs storage.Filesystem }{fs})
		server.Close()
	}
	for _, uri := range []string{"s3://" + canaryID + ":" + canary + "@bucket/k", "s3://" + canary + "@/k"} {
		_, _, err := storage.Resolve(t.Context(), uri)
		if err == nil {
			t.Errorf("a name with credentials is taken")
		}
		safe(t, "resolve", err)
	}
	for _, endpoint := range []string{"http://" + canaryID + ":" + canary + "@127.0.0.1:1", "http://%zz" + canary + "@:x", "http://127.0.0.1:1/?secret=" + canary} {
		environ(t, endpoint, services.S3Server{})
		_, _, err := storage.Resolve(t.Context(), "s3://bucket/k")
		if err == nil || !strings.Contains(err.Error(), "endpoint") {
			t.Errorf("%v", err)
		}
		safe(t, "endpoint", err)
	}
	environ(t, "http://127.0.0.1:1", services.S3Server{})
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[default]\n"+canary+"\naws_secret_access_key "+canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_PROFILE", "mine")
	c, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(echo(403))
	defer server.Close()
	c.endpoint = server.URL
	fs, err := newFS(c, "bucket", quick())
	if err != nil {
		t.Fatal(err)
	}
	defer fs.close()
	_, err = fs.Stat(t.Context(), "k")
	if err == nil || !strings.Contains(err.Error(), "AWS_PROFILE names a profile") || !errors.Is(err, storage.ErrPermission) {
		t.Errorf("a broken credentials file: %v", err)
	}
}

// TestFinalErrors counts the requests of what is not to be tried again, and reads
// what it says.
func TestFinalErrors(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		p := newProxy(t, s.Endpoint, func(request) action { return pass })
		fs := connect(t, p.server.URL, s, quick())
		if _, err := fs.Stat(t.Context(), "out/none"); !errors.Is(err, storage.ErrNotExist) || err.Error() != "storage: stat s3://divisi/out/none: file does not exist" {
			t.Errorf("got %v", err)
		}
		if _, err := fs.Open(t.Context(), "out/none"); !errors.Is(err, storage.ErrNotExist) || !strings.Contains(err.Error(), "open s3://divisi/out/none: ") {
			t.Errorf("got %v", err)
		}
		if heads, lists := p.count("head"), p.count("list"); heads != 2 || lists != 2 {
			t.Errorf("%d HEADs and %d lists for two names that are not there", heads, lists)
		}
		wrong := s
		wrong.SecretKey = "wrong-secret-4711"
		fs = connect(t, p.server.URL, wrong, quick())
		err := fs.CreateIfAbsent(t.Context(), "out/m", nil)
		if !errors.Is(err, storage.ErrPermission) || !strings.Contains(err.Error(), "s3://divisi/out/m") || strings.Contains(err.Error(), wrong.SecretKey) || !strings.Contains(err.Error(), "[request ") {
			t.Errorf("wrong secret: %v", err)
		}
		if n := p.count("put"); n != 1 {
			t.Errorf("a wrong secret is tried %d times", n)
		}
		none := s
		none.AccessKey, none.SecretKey = "", ""
		fs = connect(t, p.server.URL, none, quick())
		if _, err := fs.Open(t.Context(), "out/m"); !errors.Is(err, storage.ErrPermission) || !strings.Contains(err.Error(), "no credentials were found: set AWS_ACCESS_KEY_ID") {
			t.Errorf("no credentials: %v", err)
		}
		bucket := s
		bucket.Bucket = "nobodys-bucket"
		fs = connect(t, p.server.URL, bucket, quick())
		if _, err := fs.Open(t.Context(), "o"); !errors.Is(err, storage.ErrNotExist) || !strings.Contains(err.Error(), "the bucket does not exist") {
			t.Errorf("no bucket: %v", err)
		}
	})
}

// TestBudget: what stays broken ends as transient, and says how often it was tried.
func TestBudget(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 503, "SlowDown", "Please reduce your request rate.")
	}))
	defer server.Close()
	set := quick()
	set.first = 100 * time.Millisecond
	fs := connect(t, server.URL, services.S3Server{AccessKey: "tester", SecretKey: "tester-secret", Region: "r"}, set)
	for range fs.List(t.Context(), "") {
		break
	}
	err := fs.CreateIfAbsent(t.Context(), "o", nil)
	if !errors.Is(err, storage.ErrTransient) || !strings.Contains(err.Error(), "SlowDown: Please reduce your request rate. [request REQUEST-4711] [after ") {
		t.Errorf("got %v", err)
	}
}
