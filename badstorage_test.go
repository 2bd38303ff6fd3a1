package divisi_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/connectors/files"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/storage"
)

// TestBadLocal: names of local files that cannot be read or written.
func TestBadLocal(t *testing.T) {
	in := write(t, "one\ntwo\n")
	dir := filepath.Dir(in)
	missing := filepath.Join(dir, "nowhere")
	empty, long := filepath.Join(dir, "empty"), filepath.Join(dir, strings.Repeat("n", 300))
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "inside")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	put := filepath.Join(inside, "file")
	if err := os.WriteFile(put, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	runBad(t, []badRow{
		{name: "no such path", job: copyLines, in: missing, is: os.ErrNotExist, says: []string{missing, "spelling"}},
		{name: "no such path is no input", job: copyLines, in: missing, is: df.ErrNoInput, says: []string{missing}},
		{name: "a file as a folder", job: copyLines, in: in + "/below", is: os.ErrNotExist, says: []string{in + "/below"}},
		{name: "nothing matches", job: copyLines, in: missing + "/*.txt", is: storage.ErrNoMatch, says: []string{missing + "/*.txt", "check the pattern"}},
		{name: "a broken pattern", job: copyLines, in: dir + "/[a", is: storage.ErrInvalid, says: []string{"[a"}},
		{name: "an empty folder", job: copyLines, in: empty, is: df.ErrNoInput, says: []string{empty, "no visible file"}},
		{name: "a name too long", job: copyLines, in: long, is: storage.ErrInvalid, says: []string{long, "too long"}},
		{name: "an unknown scheme", job: copyLines, in: "gopher://host/file", is: storage.ErrNoDriver, says: []string{"gopher://", "have file"}},
		{name: "an unknown scheme of the output", job: copyLines, in: in, out: "gopher://host/out", is: storage.ErrNoDriver, says: []string{"gopher://"}},
		{name: "a memory without a name", job: copyLines, in: "mem://", is: storage.ErrInvalid, says: []string{"mem://"}},
		{name: "an output that exists", job: copyLines, in: in, out: inside, is: df.ErrOutputExists, says: []string{inside, "--mode"}},
		{name: "an output that is a file", job: copyLines, in: in, out: put, is: df.ErrOutputExists, says: []string{put}},
		{name: "an output below a file", job: copyLines, in: in, out: put + "/out", is: storage.ErrInvalid, says: []string{put + "/out"}},
		{name: "an output with a name too long", job: copyLines, in: in, out: long, is: storage.ErrInvalid, says: []string{long, "too long"}},
	})
}

// TestInputThatChanges: a file that is not what it was when the job was planned.
func TestInputThatChanges(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	row := badRow{name: "an input changes", in: dir, is: files.ErrInputChanged, says: []string{second, "when nobody writes"}}
	row.job = func(j *df.Job) {
		df.Write(df.Map(df.Read(j, df.Lines(j.Arg(0))), func(s string) string {
			if s == "first" {
				_ = os.WriteFile(second, []byte("more than there was\n"), 0o644)
			}
			return s
		}), df.Text(j.Arg(1)))
	}
	for name, text := range map[string]string{first: "first\n", second: "second\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	row.run(t)
}

// aws sets S3's environment: no file of the machine says anything then.
func aws(t *testing.T, endpoint, key, secret string) {
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1", "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
		"AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestBadS3Settings: what needs no server, or a server that refuses everything.
func TestBadS3Settings(t *testing.T) {
	if race.Short() {
		t.Skip("SKIPPED with -short and under the race detector: it takes seconds")
	}
	in := write(t, "one\n")
	const secret = "a-secret-4711"
	aws(t, "http://"+nobody(t), "tester", secret)
	runBad(t, []badRow{
		{name: "no bucket", job: copyLines, in: "s3://", is: storage.ErrInvalid, says: []string{"s3://bucket/key"}},
		{name: "no name of a bucket", job: copyLines, in: "s3://My_Bucket!/in", is: storage.ErrInvalid, says: []string{"My_Bucket!"}},
		{name: "no name of a bucket, to write", job: copyLines, in: in, out: "s3://My_Bucket!/out", is: storage.ErrInvalid, says: []string{"My_Bucket!"}},
		{name: "a password in the name", job: copyLines, in: "s3://tester:" + "hunter2" + "@bucket/in", is: storage.ErrInvalid, says: []string{"s3://bucket/in", "AWS_SECRET_ACCESS_KEY"}, hides: "hunter2"},
		{name: "a password in the name, to write", job: copyLines, in: in, out: "s3://tester:" + "hunter2" + "@bucket/out", is: storage.ErrInvalid, says: []string{"s3://bucket/out", "AWS_SECRET_ACCESS_KEY"}, hides: "hunter2"},
		{name: "a password for a store that is not known", job: copyLines, in: "ftp://tester:" + "hunter2" + "@host/in", is: storage.ErrNoDriver, says: []string{"ftp://host/in", "s3"}, hides: "hunter2"},
	})
	t.Run("an endpoint that is none", func(t *testing.T) {
		aws(t, "ftp://host/path", "tester", secret)
		badRow{job: copyLines, in: "s3://bucket/in", is: storage.ErrInvalid, says: []string{"s3://bucket/in", "AWS_ENDPOINT_URL_S3"}}.run(t)
	})
	t.Run("an authority that is none", func(t *testing.T) {
		aws(t, "https://127.0.0.1:1", "tester", secret)
		t.Setenv("AWS_CA_BUNDLE", in)
		badRow{job: copyLines, in: "s3://bucket/in", is: storage.ErrInvalid, says: []string{"AWS_CA_BUNDLE", "no certificate"}}.run(t)
	})
	for _, c := range []struct {
		name, code string
		status     int
		is         error
		says       string
	}{
		{"an expired token", "ExpiredToken", 400, storage.ErrPermission, "ExpiredToken"},
		{"a key nobody knows", "InvalidAccessKeyId", 403, storage.ErrPermission, "InvalidAccessKeyId"},
		{"no right to the bucket", "AccessDenied", 403, storage.ErrPermission, "AccessDenied"},
		{"a bucket of another region", "PermanentRedirect", 301, storage.ErrInvalid, "PermanentRedirect"},
		{"a bucket name that is refused", "InvalidBucketName", 400, storage.ErrInvalid, "InvalidBucketName"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(c.status)
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>refused</Message><RequestId>R-1</RequestId></Error>", c.code)
			}))
			defer s.Close()
			defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
			aws(t, s.URL, "tester", secret)
			badRow{job: copyLines, in: "s3://bucket/folder/in", is: c.is, says: []string{"s3://bucket/folder/in", c.says}}.run(t)
			badRow{job: copyLines, in: in, out: "s3://bucket/out", is: c.is, says: []string{"s3://bucket/out", c.says}}.run(t)
		})
	}
	t.Run("a server of something else", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer s.Close()
		aws(t, strings.Replace(s.URL, "http:", "https:", 1), "tester", secret)
		badRow{job: copyLines, in: "s3://bucket/in", is: storage.ErrInvalid, says: []string{"s3://bucket/in", "HTTP response to HTTPS"}}.run(t)
	})
	t.Run("a certificate of an unknown authority", func(t *testing.T) {
		s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer s.Close()
		s.Config.ErrorLog = nil
		aws(t, s.URL, "tester", secret)
		badRow{job: copyLines, in: "s3://bucket/in", is: storage.ErrInvalid, says: []string{"s3://bucket/in", "AWS_CA_BUNDLE"}}.run(t)
	})
}

// TestBadHDFSSettings: what needs no server.
func TestBadHDFSSettings(t *testing.T) {
	in := write(t, "one\n")
	site := func(t *testing.T, name, value string) {
		t.Helper()
		dir := t.TempDir()
		text := "<configuration><property><name>" + name + "</name><value>" + value + "</value></property></configuration>"
		if err := os.WriteFile(filepath.Join(dir, "core-site.xml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("HADOOP_CONF_DIR", dir)
	}
	for _, c := range []struct{ name, property, value, in, says string }{
		{"no cluster is named", "fs.defaultFS", "file:///", "hdfs:///in", "fs.defaultFS"},
		{"a user in the name", "x", "y", "hdfs://me:" + "hunter2" + "@host/in", "HADOOP_USER_NAME"},
		{"a nameservice without addresses", "dfs.nameservices", "ns", "hdfs://ns/in", "dfs.namenode.rpc-address.ns"},
		{"a mask that is none", "fs.permissions.umask-mode", "u=rwx", "hdfs://host/in", "octal"},
		{"a replication that is none", "dfs.replication", "many", "hdfs://host/in", "dfs.replication"},
	} {
		t.Run(c.name, func(t *testing.T) {
			site(t, c.property, c.value)
			badRow{job: copyLines, in: c.in, is: storage.ErrInvalid, says: []string{storage.Shown(c.in), c.says}, hides: "hunter2"}.run(t)
			badRow{job: copyLines, in: in, out: c.in, is: storage.ErrInvalid, says: []string{storage.Shown(c.in), c.says}, hides: "hunter2"}.run(t)
		})
	}
	t.Run("no configuration", func(t *testing.T) {
		t.Setenv("HADOOP_CONF_DIR", t.TempDir())
		badRow{job: copyLines, in: "hdfs:///in", is: storage.ErrInvalid, says: []string{"core-site.xml"}}.run(t)
	})
}

// TestNobodyAnswers: servers that are not there are given up in bounded time, and at
// once when the job has not begun.
func TestNobodyAnswers(t *testing.T) {
	if race.Short() {
		t.Skip("SKIPPED with -short and under the race detector: servers that are not there are waited for")
	}
	aws(t, "http://"+nobody(t), "tester", "a-secret-4711")
	t.Setenv("HADOOP_CONF_DIR", "")
	for _, c := range []badRow{{name: "s3", in: "s3://bucket/in"}, {name: "hdfs", in: "hdfs://" + nobody(t) + "/in"}} {
		c.job, c.is = copyLines, storage.ErrUnreachable
		c.says = []string{"check the address", "://"}
		t.Run(c.name, c.run)
	}
}
