package services

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Pinned servers. versitygw is the default: it lists open uploads by prefix and is
// small. MinIO is the second opinion: it alone has a flat key space, where "a" and
// "a/b" are both objects.
const (
	versitygwVersion = "v1.8.0"
	minioVersion     = "v0.0.0-20260212201848-7aac2a2c5b7c"
)

// An S3Server is a running S3 server with one empty bucket.
type S3Server struct {
	Name      string // of the program
	Endpoint  string // http://127.0.0.1:port
	Bucket    string
	Region    string
	AccessKey string
	SecretKey string
}

// S3 starts the default S3 server for the length of a test.
func S3(t testing.TB) S3Server {
	t.Helper()
	notShort(t)
	binary, err := versitygw(t.Context())
	unless(t, err)
	return runS3(t, "versitygw", versitygwCommand(binary))
}

// StartS3 starts the default S3 server for a program that is no test, with its files in
// a folder that is there. stop ends it, once.
func StartS3(ctx context.Context, dir string) (s S3Server, stop func(), err error) {
	binary, err := versitygw(ctx)
	if err != nil {
		return s, nil, err
	}
	s, p, err := launchS3(ctx, dir, "versitygw", versitygwCommand(binary))
	if err != nil {
		return s, nil, err
	}
	return s, p.stop, nil
}

func versitygw(ctx context.Context) (binary string, err error) {
	return goInstall(ctx, "github.com/versity/versitygw/cmd/versitygw", versitygwVersion, "versitygw")
}

// s3Command is how a server is started that listens at an address.
type s3Command func(s S3Server, address, dir string) (env, args []string)

func versitygwCommand(binary string) s3Command {
	return func(s S3Server, address, dir string) (env, args []string) {
		// Four times the heap it lives on before it collects: with the default its
		// collector takes a tenth of the processors from whoever reads small objects.
		env = []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey, "GOGC=400"}
		args = []string{binary, "--port", address, "--quiet", "--keep-alive", "posix"}
		objects := filepath.Join(dir, "objects")
		if !hasAttributes(objects) {
			args = append(args, "--sidecar", filepath.Join(dir, "metadata"))
		}
		return env, append(args, objects)
	}
}

// hasAttributes tells whether files of a folder may have extended attributes, where
// versitygw keeps what it knows of an object. Files beside the objects do as well, at
// half as much work again for each object that is read.
func hasAttributes(dir string) bool {
	return unix.Setxattr(dir, "user.divisi.probe", []byte("1"), 0) == nil
}

// MinIO starts a MinIO server for the length of a test. Its build takes minutes,
// so the test is skipped where it is not in the cache and not asked for.
func MinIO(t testing.TB) S3Server {
	t.Helper()
	notShort(t)
	if !all() && !inCache(goFolder("minio", minioVersion)) {
		t.Skip("SKIPPED: MinIO is not installed and its build takes some six minutes; `make services` (DIVISI_SERVICES=all) installs it, and from then on this test always runs")
	}
	binary, err := goInstall(t.Context(), "github.com/minio/minio", minioVersion, "minio")
	unless(t, err)
	return runS3(t, "minio", func(s S3Server, address, dir string) (env, args []string) {
		return []string{"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
				"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=1", "HOME=" + dir},
			[]string{binary, "server", "--quiet", "--address", address, filepath.Join(dir, "objects")}
	})
}

// runS3 starts a server that was installed. From here on everything that goes
// wrong is a failure: there is no reason why it should.
func runS3(t testing.TB, name string, command s3Command) S3Server {
	t.Helper()
	s, p, err := launchS3(t.Context(), t.TempDir(), name, command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return s
}

// launchS3 starts a server with its files in a folder.
func launchS3(ctx context.Context, dir, name string, command s3Command) (S3Server, *process, error) {
	dir, err := filepath.Abs(dir) // the server runs in it
	if err != nil {
		return S3Server{}, nil, err
	}
	for _, sub := range []string{"objects", "metadata"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			return S3Server{}, nil, err
		}
	}
	var last error
	for range 3 { // another process may take the port first
		port, err := freePort()
		if err != nil {
			return S3Server{}, nil, err
		}
		address := "127.0.0.1:" + strconv.Itoa(port)
		s := S3Server{Name: name, Endpoint: "http://" + address, Bucket: "divisi", Region: "us-east-1",
			AccessKey: "tester", SecretKey: "tester-secret-key"}
		env, args := command(s, address, dir)
		p, err := begin(dir, env, args[0], args[1:]...)
		if err != nil {
			return S3Server{}, nil, err
		}
		if last = p.ready(ctx, s.makeBucket); last == nil {
			return s, p, nil
		}
		p.stop()
	}
	return S3Server{}, nil, last
}

// makeBucket makes the bucket, writes an object into it and removes it again.
func (s S3Server) makeBucket(ctx context.Context) error {
	if _, err := s.do(ctx, http.MethodGet, "/"+s.Bucket, "", ""); err != nil {
		if _, err := s.do(ctx, http.MethodPut, "/"+s.Bucket, "", ""); err != nil {
			return err
		}
	}
	name := "/" + s.Bucket + "/ready"
	for _, step := range []struct{ method, body string }{{http.MethodPut, "ready"}, {http.MethodGet, ""}, {http.MethodDelete, ""}} {
		if _, err := s.do(ctx, step.method, name, "", step.body); err != nil {
			return fmt.Errorf("%s of the first object: %w", step.method, err)
		}
	}
	return nil
}

// Left is what there is in the bucket: its first thousand keys, and the keys of
// uploads that are not completed. MinIO tells those of uploads by whole keys only.
func (s S3Server) Left(t testing.TB) (keys, uploads []string) {
	t.Helper()
	for _, ask := range []struct {
		query string
		into  *[]string
	}{{"list-type=2", &keys}, {"uploads=", &uploads}} {
		text, err := s.do(t.Context(), http.MethodGet, "/"+s.Bucket, ask.query, "")
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Contents, Upload []struct{ Key string }
		}
		if err := xml.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		for _, e := range slices.Concat(answer.Contents, answer.Upload) {
			*ask.into = append(*ask.into, e.Key)
		}
	}
	return keys, uploads
}

// Environ is what the AWS tools' environment says of the server, each variable once: of
// this machine's own settings nothing counts.
func (s S3Server) Environ() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_SESSION_TOKEN=", "AWS_REGION=" + s.Region,
		"AWS_DEFAULT_REGION=", "AWS_ENDPOINT_URL_S3=" + s.Endpoint, "AWS_ENDPOINT_URL=", "AWS_PROFILE=", "AWS_CONFIG_FILE=", "AWS_SHARED_CREDENTIALS_FILE=",
		"AWS_CA_BUNDLE=", "AWS_EC2_METADATA_DISABLED=true", "DIVISI_S3_ATTEMPTS="}
}
