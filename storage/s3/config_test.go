package s3

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func TestResolve(t *testing.T) {
	environ(t, "http://127.0.0.1:1", services.S3Server{AccessKey: "one-key", SecretKey: "one-secret"})
	one, _, err := storage.Resolve(t.Context(), "s3://bucket")
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"s3://bucket": "", "s3://bucket/": "", "s3://bucket/a/b": "a/b", "s3://bucket/a//b/": "a//b", "s3://bucket//a": "/a",
		"s3://bucket/a%20 +?#": "a%20 +?#", "s3://bucket/é*": "é*", "s3://bucket/k@x": "k@x",
	} {
		fs, name, err := storage.Resolve(t.Context(), uri)
		if err != nil || name != want || fs != one {
			t.Errorf("Resolve(%q) = %v, %q, %v; want %v, %q", uri, fs, name, err, one, want)
		}
		if back := storage.URI(uri, "b/c"); back != "s3://bucket/b/c" {
			t.Errorf("URI(%q) = %q", uri, back)
		}
	}
	if other, _, err := storage.Resolve(t.Context(), "s3://other/"); err != nil || other == one {
		t.Errorf("another bucket: %v, %v", other, err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "two-secret")
	if other, _, err := storage.Resolve(t.Context(), "s3://bucket/"); err != nil || other == one {
		t.Errorf("with another secret: %v, %v", other, err)
	}
	for uri, says := range map[string]string{"s3://": "the bucket is missing", "s3:///k": "the bucket is missing", "s3://B_/k": "no name of a bucket", "s3://../k": "no name of a bucket"} {
		if _, _, err := storage.Resolve(t.Context(), uri); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Resolve(%q): %v", uri, err)
		}
	}
	t.Setenv("DIVISI_S3_ATTEMPTS", "team/.divisi/x")
	if _, _, err := storage.Resolve(t.Context(), "s3://bucket/k"); err == nil || !strings.Contains(err.Error(), "DIVISI_S3_ATTEMPTS") {
		t.Errorf("got %v", err)
	}
}

// TestSharedConfig reads settings where the AWS tools keep them.
func TestSharedConfig(t *testing.T) {
	environ(t, "", services.S3Server{})
	dir := filepath.Join(os.Getenv("HOME"), ".aws")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what, endpoint, region, key string) {
		t.Helper()
		c, err := environment()
		if err != nil || c.endpoint != endpoint || c.region != region {
			t.Errorf("%s: endpoint %q, region %q, %v; want %q, %q", what, c.endpoint, c.region, err, endpoint, region)
		}
		v, err := newChain(c).Retrieve()
		if err != nil || v.AccessKeyID != key || v.SignerType.IsAnonymous() != (key == "") {
			t.Errorf("%s: key %q, %v; want %q", what, v.AccessKeyID, err, key)
		}
	}
	check("nothing", "", "", "")
	write("config", "# mine\n[default]\nregion = eu-central-1\ns3 =\n    region = nested\n[profile lab]\nregion=us-west-2\nendpoint_url = https://s3.lab:9000\n#region = no\naws_access_key_id = config-key\naws_secret_access_key = config-secret\n[lab]\nregion = wrong\n")
	check("default", "", "eu-central-1", "")
	t.Setenv("AWS_PROFILE", "lab")
	check("profile", "https://s3.lab:9000", "us-west-2", "config-key")
	write("credentials", "[default]\naws_access_key_id = file-key\naws_secret_access_key = file-secret\n[lab]\naws_access_key_id = lab-key\naws_secret_access_key = lab-secret\n")
	check("credentials file", "https://s3.lab:9000", "us-west-2", "lab-key")
	t.Setenv("AWS_DEFAULT_REGION", "ap-1")
	check("default region", "https://s3.lab:9000", "ap-1", "lab-key")
	t.Setenv("AWS_REGION", "ap-2")
	check("region", "https://s3.lab:9000", "ap-2", "lab-key")
	t.Setenv("AWS_ENDPOINT_URL", "http://all:1")
	check("endpoint of all", "http://all:1", "ap-2", "lab-key")
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://s3:2")
	check("endpoint", "http://s3:2", "ap-2", "lab-key")
	t.Setenv("AWS_ACCESS_KEY_ID", "env-key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
	check("environment", "http://s3:2", "ap-2", "env-key")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_PROFILE", "nobody")
	check("another server without a region", "http://s3:2", "us-east-1", "env-key")
}

// TestRoles has a machine that gives out credentials: for a container, for an
// instance, and for a web identity. They are renewed when they expire.
func TestRoles(t *testing.T) {
	round := 0
	until := func() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		round++
		body := fmt.Sprintf(`{"Code":"Success","AccessKeyId":"role-%d","SecretAccessKey":"secret","Token":"token","Expiration":%q}`, round, until())
		switch {
		case r.URL.Path == "/latest/api/token":
			fmt.Fprint(w, "session")
		case r.URL.Path == credentials.DefaultIAMSecurityCredsPath:
			fmt.Fprint(w, "role")
		case r.Method == http.MethodPost && (r.FormValue("WebIdentityToken") != "identity" || r.FormValue("RoleArn") != "arn:aws:iam::1:role/r"):
			w.WriteHeader(http.StatusForbidden)
		case r.Method == http.MethodPost:
			fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>role-%d</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, round, until())
		default:
			fmt.Fprint(w, body)
		}
	}))
	defer machine.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("identity"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]map[string]string{
		"container":    {"AWS_CONTAINER_CREDENTIALS_FULL_URI": machine.URL + "/role"},
		"instance":     {"AWS_EC2_METADATA_DISABLED": "false"},
		"web identity": {"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"},
	} {
		t.Run(name, func(t *testing.T) {
			environ(t, "", services.S3Server{Region: "eu-west-1"})
			for k, v := range env {
				t.Setenv(k, v)
			}
			c, err := environment()
			if err != nil {
				t.Fatal(err)
			}
			chain := newChain(c)
			i := slices.IndexFunc(chain.sources, func(s source) bool { _, ok := s.provider.(*credentials.IAM); return ok })
			if i < 0 {
				t.Fatal("no role is asked for")
			}
			if name != "container" {
				chain.sources[i].provider.(*credentials.IAM).Endpoint = machine.URL
			}
			creds := credentials.New(chain)
			one, err := creds.GetWithContext(nil)
			if err != nil || !strings.HasPrefix(one.AccessKeyID, "role-") || one.SessionToken != "token" {
				t.Fatalf("got %q, %v", one.AccessKeyID, err)
			}
			if again, err := creds.GetWithContext(nil); err != nil || again.AccessKeyID != one.AccessKeyID {
				t.Errorf("asked again before they expire: %v", err)
			}
			creds.Expire()
			if two, err := creds.GetWithContext(nil); err != nil || two.AccessKeyID == one.AccessKeyID {
				t.Errorf("not renewed: %v", err)
			}
		})
	}
}

// TestNoCredentialsAreRememberedAMinute: a machine without any is not asked before
// each request.
func TestNoCredentialsAreRememberedAMinute(t *testing.T) {
	environ(t, "", services.S3Server{})
	now := time.Unix(1_000_000, 0)
	c := newChain(config{})
	c.now = func() time.Time { return now }
	creds := credentials.New(c)
	for _, step := range []struct {
		after time.Duration
		asks  bool
	}{{0, true}, {0, false}, {59 * time.Second, false}, {2 * time.Second, true}, {0, false}} {
		now = now.Add(step.after)
		if got := creds.IsExpired(); got != step.asks {
			t.Errorf("after %v: asks again is %v, want %v", step.after, got, step.asks)
		}
		if v, err := creds.GetWithContext(nil); err != nil || !v.SignerType.IsAnonymous() {
			t.Errorf("got %v", err)
		}
	}
}

// TestExpiredToken: a role's credentials are renewed and the request sent again.
func TestExpiredToken(t *testing.T) {
	renewed := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if renewed < 1 {
			answer(w, 400, "ExpiredToken", "The provided token has expired.")
		}
	}))
	defer server.Close()
	fs := connect(t, server.URL, services.S3Server{AccessKey: "tester", SecretKey: "tester-secret", Region: "r"}, quick())
	refresh := fs.refresh
	fs.refresh = func() { renewed++; refresh() }
	if err := fs.CreateIfAbsent(t.Context(), "o", nil); err != nil || renewed != 1 {
		t.Errorf("renewed %d times, %v", renewed, err)
	}
	renewed = -100
	if err := fs.CreateIfAbsent(t.Context(), "o", nil); err == nil || renewed != -97 || !strings.Contains(err.Error(), "ExpiredToken") {
		t.Errorf("renewed %d times, %v", renewed+100, err)
	}
}
