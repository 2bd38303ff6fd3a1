package local

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/storage"
)

func write(t *testing.T, name, data string) {
	t.Helper()
	ok(t, os.MkdirAll(name[:strings.LastIndexByte(name, '/')], 0o777))
	ok(t, os.WriteFile(name, []byte(data), 0o666))
}

func list(t *testing.T, prefix string) (names []string, err error) {
	t.Helper()
	for info, err := range (FS{}).List(t.Context(), prefix) {
		if err != nil {
			return names, err
		}
		names = append(names, info.Name)
	}
	return names, nil
}

func wantList(t *testing.T, dir, prefix string, want ...string) {
	t.Helper()
	got, err := list(t, dir+prefix)
	for i := range got {
		got[i] = strings.TrimPrefix(got[i], dir)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("List(%s) = %q, %v; want %q", prefix, got, err, want)
	}
}

func wantListError(t *testing.T, prefix, says string) {
	t.Helper()
	_, err := list(t, prefix)
	if e, ok := errors.AsType[*storage.Error](err); !ok || e.Op != "list" || !strings.Contains(err.Error(), says) {
		t.Errorf("List(%s): %v, want %q", prefix, err, says)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for uri, want := range map[string]string{
		"/a/b": "/a/b", "/a//b/../c/": "/a/c", "a": dir + "/a", "./a/": dir + "/a", ".": dir, "..": dir[:strings.LastIndexByte(dir, '/')],
		"file:///a/b": "/a/b", "file://localhost/a": "/a", "file:///": "/", "/": "/", "file:///a%20b+c?d#e": "/a%20b+c?d#e", "a b": dir + "/a b",
	} {
		got, name, err := storage.Resolve(t.Context(), uri)
		if err != nil || name != want || got != (FS{}) {
			t.Errorf("Resolve(%q) = %v, %q, %v; want %q", uri, got, name, err, want)
		}
		back := storage.URI(uri, name)
		if strings.HasPrefix(uri, "file:") != strings.HasPrefix(back, "file:///") {
			t.Errorf("URI(%q, %q) = %q", uri, name, back)
		}
		if _, again, err := storage.Resolve(t.Context(), back); err != nil || again != want {
			t.Errorf("Resolve(%q) = %q, %v; want %q", back, again, err, want)
		}
	}
	for uri, says := range map[string]string{"": "empty", "file://": "three slashes", "file://host/a": "three slashes", "file://a": "three slashes", "a\x00b": "zero byte"} {
		_, _, err := storage.Resolve(t.Context(), uri)
		if e, ok := errors.AsType[*storage.Error](err); !ok || e.Path != uri || !strings.Contains(err.Error(), says) || !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("Resolve(%q): %v, want ErrInvalid and %q", uri, err, says)
		}
	}
	for _, name := range []string{"a", "", "./a"} {
		if _, err := (FS{}).Open(t.Context(), name); err == nil || !strings.Contains(err.Error(), "absolute") {
			t.Errorf("Open(%q): %v", name, err)
		}
	}
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/real/x/1", "one")
	write(t, dir+"/real/2", "twotwo")
	ok(t, os.MkdirAll(dir+"/in", 0o777))
	ok(t, os.Symlink("../real/2", dir+"/in/file"))
	ok(t, os.Symlink(dir+"/real/x", dir+"/in/folder"))
	ok(t, os.Symlink("in", dir+"/link"))
	ok(t, os.Symlink("nowhere", dir+"/in/.#lock"))
	ok(t, os.Symlink("nowhere", dir+"/real/_gone"))
	wantList(t, dir, "/in", "/in/file", "/in/folder/1")
	wantList(t, dir, "/link", "/link/file", "/link/folder/1")
	if info, err := (FS{}).Stat(t.Context(), dir+"/in/file"); err != nil || info.Size != 6 || info.Dir {
		t.Errorf("Stat of a link: %+v, %v", info, err)
	}

	ok(t, os.Symlink("nowhere", dir+"/in/gone"))
	wantListError(t, dir+"/in", dir+"/in/gone: broken link to nowhere")
	wantListError(t, dir+"/in/gone", "broken link to nowhere")
	_, err := FS{}.Open(t.Context(), dir+"/in/gone")
	if !errors.Is(err, storage.ErrNotExist) || !strings.Contains(err.Error(), "broken link") {
		t.Error(err)
	}
	ok(t, os.Remove(dir+"/in/gone"))

	ok(t, os.Symlink("..", dir+"/real/x/up"))
	wantListError(t, dir+"/real", dir+"/real/x/up: is a link to a folder that it lies in")
	ok(t, os.Rename(dir+"/real/x/up", dir+"/real/x/.up"))
	wantList(t, dir, "/real", "/real/2", "/real/x/1")

	// Links are removed, not what they point to.
	ok(t, FS{}.Remove(t.Context(), dir+"/in"))
	wantList(t, dir, "/real", "/real/2", "/real/x/1")
}

func TestListSkipsAttempts(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.MkdirAll(dir+"/out/p", 0o777))
	seal(t, "", dir+"/out/p/x/a", "1")
	s := seal(t, "j", dir+"/out/p/x/a", "2")
	write(t, dir+"/out/.divisive", "a user's")
	wantList(t, dir, "", "/out/.divisive")
	wantList(t, dir, "/out/.divisi-j")
	wantList(t, dir, s.Token[len(dir):])
	if _, err := (FS{}).Stat(t.Context(), s.Token); !errors.Is(err, storage.ErrNotExist) {
		t.Error(err)
	}
	ok(t, FS{}.Remove(t.Context(), dir+"/out/p"))
	wantInventory(t, dir, "out/", "out/.divisive")
}

func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/in/a", "x")
	_, err := FS{}.Open(t.Context(), dir+"/in")
	if e, ok := errors.AsType[*storage.Error](err); !ok || e.Op != "open" || !strings.Contains(err.Error(), "is a folder") || errors.Is(err, storage.ErrNotExist) {
		t.Errorf("Open of a folder: %v", err)
	}
	if _, err := (FS{}).Open(t.Context(), "/dev/null"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("Open of a device: %v", err)
	}
	if err := (FS{}).Remove(t.Context(), "/"); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("Remove of the root: %v", err)
	}
	wantList(t, dir, "/in/a/b")
	if err := (FS{}).Remove(t.Context(), dir+"/in/a/b"); err != nil {
		t.Errorf("Remove below a file: %v", err)
	}
	wantList(t, dir, "", "/in/a")
}

func TestFileThatChanges(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", "0123456789")
	f, err := FS{}.Open(t.Context(), dir+"/f")
	ok(t, err)
	defer f.Close()
	w, err := os.OpenFile(dir+"/f", os.O_APPEND|os.O_WRONLY, 0)
	ok(t, err)
	_, err = w.WriteString("later")
	ok(t, err)
	ok(t, w.Close())
	p := make([]byte, 20)
	if n, err := f.ReadAt(p, 5); n != 5 || err != io.EOF || string(p[:n]) != "56789" || f.Size() != 10 {
		t.Errorf("grown: %d, %v", n, err)
	}
	ok(t, os.Truncate(dir+"/f", 7))
	n, err := f.ReadAt(p[:4], 5)
	if n != 2 || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "had 10 bytes when it was opened and ends at 7") {
		t.Errorf("cut: %d, %v", n, err)
	}
	ok(t, f.Close())
	ok(t, f.Close())
	if _, err := f.ReadAt(p, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
