package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/storagetest"
	"go.uber.org/goleak"
)

// canary is a text that no error, name or log may ever hold.
const (
	canaryID    = "AKIACANARYID"
	canary      = "canary-secret-4711"
	canaryToken = "canary-token-0815"
)

// quick are settings for servers that are near.
func quick() settings {
	s := standard
	s.pause, s.pauseMax, s.repeats = time.Millisecond, 20*time.Millisecond, 1000
	s.late = [2]time.Duration{time.Millisecond, 5 * time.Millisecond}
	return s
}

// environ sets what the driver reads, and hides what this machine has.
func environ(t *testing.T, endpoint string, s services.S3Server) {
	t.Helper()
	home := t.TempDir()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": s.AccessKey, "AWS_SECRET_ACCESS_KEY": s.SecretKey, "AWS_SESSION_TOKEN": "",
		"AWS_REGION": s.Region, "AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL_S3": endpoint, "AWS_ENDPOINT_URL": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": "", "AWS_SHARED_CREDENTIALS_FILE": "", "AWS_CA_BUNDLE": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_ROLE_ARN": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
		"HOME": home, "DIVISI_S3_ATTEMPTS": "",
	} {
		t.Setenv(name, value)
	}
}

// connect makes a filesystem on a server, or on a proxy before it.
func connect(t *testing.T, endpoint string, s services.S3Server, set settings) *FS {
	t.Helper()
	environ(t, endpoint, s)
	c, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	fs, err := newFS(c, cmp.Or(s.Bucket, "bucket"), set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fs.close)
	return fs
}

// nothingLeft fails where the server has open uploads or marks for keys.
func nothingLeft(t *testing.T, fs *FS, names ...string) {
	t.Helper()
	for keys, err := range fs.all(context.WithoutCancel(t.Context()), "") {
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range keys {
			if reserved(o.Key) {
				t.Errorf("the mark %s is left", o.Key)
			}
		}
	}
	for _, name := range names {
		ids, err := fs.uploads(context.WithoutCancel(t.Context()), name, time.Time{})
		if err != nil || len(ids) > 0 {
			t.Errorf("%s: %d open uploads are left, %v", name, len(ids), err)
		}
	}
}

var servers = []struct {
	name  string
	start func(testing.TB) services.S3Server
}{{"versitygw", services.S3}, {"minio", services.MinIO}}

// onServers runs a test on every kind of server.
func onServers(t *testing.T, run func(t *testing.T, s services.S3Server)) {
	for _, c := range servers {
		t.Run(c.name, func(t *testing.T) {
			s := c.start(t)
			leaks := goleak.IgnoreCurrent()
			t.Run("with", func(t *testing.T) { run(t, s) })
			goleak.VerifyNone(t, leaks)
		})
	}
}

func TestSuite(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		for _, c := range []struct {
			prefix, marks string
			part          int
		}{{"top", "", 8 << 20}, {"deep/er", "deep", 5 << 20}} {
			if s.Name != "versitygw" && c.marks == "" {
				continue // one server is enough for both places of the marks
			}
			var n atomic.Int32
			storagetest.Run(t, func(t *testing.T) (storage.Filesystem, string) {
				set := quick()
				set.part, set.block = c.part, c.part/5
				fs := connect(t, s.Endpoint, s, set)
				fs.marks = folderPrefix(c.marks)
				return fs, fmt.Sprintf("%s-%d", c.prefix, n.Add(1))
			},
				storagetest.Has[storage.ConditionalCreator](), storagetest.Has[storage.Stater](), storagetest.Has[storage.Discarder](),
				storagetest.Has[storage.Sweeper](), storagetest.Has[storage.AttemptLister](), storagetest.Has[storage.FolderLister]())
		}
	})
}

// publishAll writes objects whose content is their name, through the front door.
func publishAll(t *testing.T, fs storage.Filesystem, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := fs.(storage.ConditionalCreator).CreateIfAbsent(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
}

func listed(t *testing.T, fs storage.Filesystem, prefix string) (names []string) {
	t.Helper()
	for info, err := range fs.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != int64(len(info.Name)) {
			t.Errorf("%s has %d bytes", info.Name, info.Size)
		}
		names = append(names, info.Name)
	}
	return names
}

// TestListMany compares listings of many shapes with the names that were written,
// at page sizes that make ranges.
func TestListMany(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		set := quick()
		fs := connect(t, s.Endpoint, s, set)
		var want []string
		add := func(format string, n int) {
			if s.Name != "versitygw" {
				n /= 5 // the server's order and pages are looked at, not its speed
			}
			for i := range n {
				want = append(want, fmt.Sprintf("many/"+format, i))
			}
		}
		add("flat/%05d", 700)
		add("by/k=%03d/-part", 300)
		add("by/k=%03d-x", 100)
		add("skew/a/b/c/%04d", 500)
		add("skew/b/%04d", 30)
		add("z/%02d/x/part-0", 70)
		add("z/%02d/y/part-1", 70)
		add("files-%03d", 240)
		slices.Sort(want)
		work := make(chan string)
		t.Run("write", func(t *testing.T) {
			go func() {
				defer close(work)
				for _, n := range want {
					work <- n
				}
			}()
			for i := range 8 {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					for n := range work {
						publishAll(t, fs, n)
					}
				})
			}
		})
		for _, page := range []int{1000, 90, 11} {
			fs.set.page = page
			for _, prefix := range []string{"many", "many/flat", "many/by", "many/skew", "many/skew/a", "many/z"} {
				var in []string
				for _, n := range want {
					if strings.HasPrefix(n, prefix+"/") {
						in = append(in, n)
					}
				}
				if got := listed(t, fs, prefix); !slices.Equal(got, in) {
					t.Errorf("pages of %d: List(%q) has %d names, want %d; first difference: %s", page, prefix, len(got), len(in), difference(got, in))
				}
				var dirs []string // of ListFolder, a folder's name with its slash
				for _, n := range in {
					rest, _ := strings.CutPrefix(n, prefix+"/")
					if dir, _, ok := strings.Cut(rest, "/"); ok {
						n = prefix + "/" + dir + "/"
					}
					dirs = append(dirs, n)
				}
				slices.Sort(dirs)
				dirs = slices.Compact(dirs)
				var got []string
				for info, err := range fs.ListFolder(t.Context(), prefix) {
					if err != nil {
						t.Fatal(err)
					}
					if info.Dir {
						info.Name += "/"
					}
					got = append(got, info.Name)
				}
				if !slices.Equal(got, dirs) {
					t.Errorf("pages of %d: ListFolder(%q) has %d names, want %d; first difference: %s", page, prefix, len(got), len(dirs), difference(got, dirs))
				}
			}
			for _, stop := range []int{0, 1, 350} { // what runs ahead has to end
				n := 0
				for _, err := range fs.List(t.Context(), "many") {
					if err != nil {
						t.Fatal(err)
					}
					if n++; n > stop {
						break
					}
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			var last error
			for _, err := range fs.List(ctx, "many") {
				if n++; n == 300 {
					cancel()
				}
				last = err
			}
			cancel()
			if n > 301 || !errors.Is(last, context.Canceled) {
				t.Errorf("a listing that is cancelled yields %d entries and ends with %v", n, last)
			}
		}
		fs.set.page = 1000
		if err := fs.Remove(t.Context(), "many"); err != nil {
			t.Fatal(err)
		}
		if got := listed(t, fs, "many"); len(got) > 0 {
			t.Errorf("after Remove there are %d, %q first", len(got), got[0])
		}
	})
}

func difference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("no. %d, %q for %q", i, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
	return "none"
}
