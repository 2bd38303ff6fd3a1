package s3

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// plant writes an object without the driver.
func plant(t *testing.T, fs *FS, key string, data string) {
	t.Helper()
	if _, err := fs.put(call{ctx: t.Context(), moved: func() {}}, key, []byte(data), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestStandIns: keys with a slash at the end are folders where they are empty.
func TestStandIns(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		fs := connect(t, s.Endpoint, s, quick())
		plant(t, fs, "in/", "")
		plant(t, fs, "in/empty/", "")
		plant(t, fs, "in/a", "in/a")
		if got := listed(t, fs, "in"); !slices.Equal(got, []string{"in/a"}) {
			t.Errorf("List yields %q", got)
		}
		var got []string
		for info, err := range fs.ListFolder(t.Context(), "in") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(info.Name, info.Dir))
		}
		if want := []string{"in/afalse", "in/emptytrue"}; !slices.Equal(got, want) {
			t.Errorf("ListFolder yields %q, want %q", got, want)
		}
		if info, err := fs.Stat(t.Context(), "in/empty/"); err != nil || !info.Dir || info.Name != "in/empty" {
			t.Errorf("Stat: %+v, %v", info, err)
		}
		if _, err := fs.Open(t.Context(), "in/empty"); err == nil || !strings.Contains(err.Error(), "is a folder") {
			t.Errorf("Open: %v", err)
		}
		if err := fs.Remove(t.Context(), "in"); err != nil {
			t.Fatal(err)
		}
		for o := range fs.core.Client.ListObjects(t.Context(), fs.bucket, minio.ListObjectsOptions{Recursive: true}) {
			t.Errorf("Remove leaves %q, %v", o.Key, o.Err)
		}
		if info, err := fs.Stat(t.Context(), ""); err != nil || !info.Dir {
			t.Errorf("Stat of an empty bucket: %+v, %v", info, err)
		}
	})
}

// TestObjectBelowAnother: where folders are real, the server's refusal is the error.
func TestObjectBelowAnother(t *testing.T) {
	s := services.S3(t)
	fs := connect(t, s.Endpoint, s, quick())
	publishAll(t, fs, "o")
	err := fs.CreateIfAbsent(t.Context(), "o/p", nil)
	if err == nil || errors.Is(err, storage.ErrExist) || errors.Is(err, storage.ErrTransient) {
		t.Errorf("got %v", err)
	}
	if got := content(t, fs, "o", 10); !bytes.Equal(got, []byte("o")) {
		t.Errorf("o holds %q", got)
	}
}

func TestReservedNames(t *testing.T) {
	fs := connect(t, "http://127.0.0.1:1", services.S3Server{AccessKey: "tester", SecretKey: "tester-secret", Region: "r"}, quick())
	for _, name := range []string{"", "/", ".divisi/a", "a/.divisi-job/b", ".divisi-", "bad\xff", strings.Repeat("k", 900)} {
		_, err := fs.Create(t.Context(), name)
		if err == nil || errors.Is(err, storage.ErrTransient) {
			t.Errorf("Create(%.20q): %v", name, err)
		}
		if err := fs.CreateIfAbsent(t.Context(), name, nil); err == nil || errors.Is(err, storage.ErrTransient) {
			t.Errorf("CreateIfAbsent(%.20q): %v", name, err)
		}
	}
	for _, name := range []string{".divisi-job/a", "bad\xff", strings.Repeat("k", 1025)} {
		if _, err := fs.Open(t.Context(), name); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("Open(%.20q): %v", name, err)
		}
	}
	for _, name := range []string{"", ".divisi", ".divisi-job/a"} {
		if err := fs.Remove(t.Context(), name); err == nil {
			t.Errorf("Remove(%q) succeeds", name)
		}
	}
	folders := map[string]string{}
	for _, owner := range []string{"", "job", "Job", "job/1", "job%2f1", "job 1", "..", strings.Repeat("j", 300), strings.Repeat("j", 301), "é"} {
		folder := storage.OwnerFolder(owner)
		if other, twice := folders[folder]; twice || !storage.IsOwnerFolder(folder) || strings.Contains(folder, "/") || len(folder) > 255 {
			t.Errorf("owner %q has the folder %q (that of %q)", owner, folder, other)
		}
		folders[folder] = owner
		for _, name := range []string{"a", "a/b/c", "a//b", attempt + "0123456789abcdef/x"} {
			key := fs.markKey(folder, name, attempt+"0123456789abcdef")
			if f, n, id, ok := fs.parseMark(key); !ok || f != folder || n != name || !isID(id) {
				t.Errorf("parseMark(%q) = %q, %q, %q, %v", key, f, n, id, ok)
			}
		}
	}
}
