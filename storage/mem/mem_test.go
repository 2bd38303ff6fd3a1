package mem

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/storagetest"
)

func TestSuite(t *testing.T) {
	for _, prefix := range []string{"top", "deep/er"} {
		storagetest.Run(t, func(*testing.T) (storage.Filesystem, string) { return New(), prefix },
			storagetest.Has[storage.ConditionalCreator](), storagetest.Has[storage.Stater](), storagetest.Has[storage.Discarder](),
			storagetest.Has[storage.Sweeper](), storagetest.Has[storage.FolderLister]())
	}
}

func TestResolve(t *testing.T) {
	t.Cleanup(func() { Drop("x"); Drop("y") })
	for uri, want := range map[string]string{
		"mem://x": "", "mem://x/": "", "mem://x/a/b": "a/b", "mem://x//a/./b/": "a/b", "mem://x/../a": "a", "mem://x/a%20 +?#": "a%20 +?#",
	} {
		fs, name, err := storage.Resolve(t.Context(), uri)
		if err != nil || name != want || fs != storage.Filesystem(Named("x")) {
			t.Errorf("Resolve(%q) = %p, %q, %v; want %p, %q", uri, fs, name, err, Named("x"), want)
		}
		if back := storage.URI(uri, "b/c"); back != "mem://x/b/c" {
			t.Errorf("URI(%q) = %q", uri, back)
		}
	}
	for _, uri := range []string{"mem://", "mem:///a"} {
		if _, _, err := storage.Resolve(t.Context(), uri); err == nil || !strings.Contains(err.Error(), "name is missing") {
			t.Errorf("Resolve(%q): %v", uri, err)
		}
	}
	if err := Named("x").CreateIfAbsent(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Named("y").Stat(t.Context(), "a"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("another filesystem has it too: %v", err)
	}
	_, err := Named("x").Open(t.Context(), "b")
	if want := "storage: open mem://x/b: file does not exist"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	Drop("x")
	if _, err := Named("x").Stat(t.Context(), "a"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("it is there after Drop: %v", err)
	}
}

// TestNoObjectBelowAnother tries every pair of names, in both orders, against what
// folders on a disk would allow.
func TestNoObjectBelowAnother(t *testing.T) {
	names := []string{"a", "a/b", "a/b/c", "a-", "a0", "ab", "b/a", "b"}
	for _, x := range names {
		for _, y := range names {
			fs := New()
			if err := fs.CreateIfAbsent(t.Context(), x, nil); err != nil {
				t.Fatal(err)
			}
			o, err := fs.Create(t.Context(), y)
			if err != nil {
				t.Fatal(err)
			}
			s, err := o.Seal(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conflict := strings.HasPrefix(x, y+"/") || strings.HasPrefix(y, x+"/")
			if err := fs.Publish(t.Context(), s); (err != nil) != conflict {
				t.Errorf("%s after %s: %v", y, x, err)
			}
			want := 2
			if conflict || x == y {
				want = 1
			}
			n := 0
			for range fs.List(t.Context(), "") {
				n++
			}
			if n != want {
				t.Errorf("%s after %s: %d objects, want %d", y, x, n, want)
			}
		}
	}
}

func TestForgedTokens(t *testing.T) {
	fs := New()
	var all []storage.Sealed
	for i := range 2 {
		o, err := fs.Create(t.Context(), fmt.Sprint("o", i))
		if err != nil {
			t.Fatal(err)
		}
		s, err := o.Seal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	open, err := fs.Create(t.Context(), "o1")
	if err != nil {
		t.Fatal(err)
	}
	forged := all[1]
	forged.Token = all[0].Token
	unsealed := storage.Sealed{Name: "o1", Token: open.(*attempt).token}
	for _, s := range []storage.Sealed{forged, unsealed} {
		if err := fs.Publish(t.Context(), s); err == nil {
			t.Errorf("%+v is published", s)
		}
		if err := fs.Discard(t.Context(), s); err != nil {
			t.Errorf("Discard(%+v): %v", s, err)
		}
	}
	for _, s := range all {
		if err := fs.Publish(t.Context(), s); err != nil {
			t.Errorf("after the forgeries: %v", err)
		}
	}
}
