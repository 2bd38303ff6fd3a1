package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/faulty"
	_ "github.com/divisi-data/divisi/storage/local"
	"github.com/divisi-data/divisi/storage/mem"
)

func fill(t *testing.T, names ...string) (base string) {
	t.Helper()
	host := strings.ReplaceAll(t.Name(), "/", "-")
	fs := mem.Named(host)
	t.Cleanup(func() { mem.Drop(host) })
	for _, n := range names {
		if err := fs.CreateIfAbsent(t.Context(), n, []byte(n)); err != nil {
			t.Fatal(err)
		}
	}
	return "mem://" + host + "/"
}

func TestShown(t *testing.T) {
	for uri, want := range map[string]string{
		"s3://key:se@cret@bucket/a@b": "s3://bucket/a@b", "hdfs://ann@host:1/x": "hdfs://host:1/x", "ftp://u@h": "ftp://h",
		"s3://bucket/a@b": "s3://bucket/a@b", "file:///a@b": "file:///a@b", "/a@b": "/a@b", "a@b/c": "a@b/c", "": "",
	} {
		if got := storage.Shown(uri); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
}

func TestGlob(t *testing.T) {
	base := fill(t,
		"in/a.txt", "in/b.txt", "in/c.csv", "in/_SUCCESS", "in/.hidden", "in/_tmp/x.txt",
		"in/2024/01/p.txt", "in/2024/02/p.txt", "in/2024/02/_q.txt", "in/2025/01/p.txt", "in/2025/r.txt",
		"input/z.txt", "odd/a b+c%20.txt", "odd/[x].txt", "odd/x.txt", "odd/y*.txt", "odd/yy.txt", "odd/é.txt", "odd/{k}.txt", "odd/a,b.txt")
	for _, c := range []struct{ glob, want string }{
		{"in/a.txt", "in/a.txt"},
		{"in/_SUCCESS", "in/_SUCCESS"}, // said by name
		{"in", "in/2024/01/p.txt in/2024/02/p.txt in/2025/01/p.txt in/2025/r.txt in/a.txt in/b.txt in/c.csv"},
		{"in/", "in/2024/01/p.txt in/2024/02/p.txt in/2025/01/p.txt in/2025/r.txt in/a.txt in/b.txt in/c.csv"},
		{"in/_tmp", "in/_tmp/x.txt"},
		{"in/*.txt", "in/a.txt in/b.txt"},
		{"in/?.*", "in/a.txt in/b.txt in/c.csv"},
		{"in/[ab].txt", "in/a.txt in/b.txt"},
		{"in/[!a].*", "in/b.txt in/c.csv"},
		{"in/[^a-b].*", "in/c.csv"},
		{"in/{a,c}.*", "in/a.txt in/c.csv"},
		{"in/{a.txt,nothing,c.csv}", "in/a.txt in/c.csv"},
		{"{in/a,input/z}.txt", "in/a.txt input/z.txt"},
		{"in/{2024/{01,02},2025}/p.txt", "in/2024/01/p.txt in/2024/02/p.txt"},
		{"in/{a,a,?}.txt", "in/a.txt in/b.txt"},
		{"in/2024/*", "in/2024/01/p.txt in/2024/02/p.txt"}, // folders stand for what is in them
		{"in/20*", "in/2024/01/p.txt in/2024/02/p.txt in/2025/01/p.txt in/2025/r.txt"},
		{"in/*/01", "in/2024/01/p.txt in/2025/01/p.txt"},
		{"in/*/01/p.txt", "in/2024/01/p.txt in/2025/01/p.txt"},
		{"in/**/p.txt", "in/2024/01/p.txt in/2024/02/p.txt in/2025/01/p.txt"},
		{"in/**/*.txt", "in/2024/01/p.txt in/2024/02/p.txt in/2025/01/p.txt in/2025/r.txt in/a.txt in/b.txt"},
		{"in/**/01", "in/2024/01/p.txt in/2025/01/p.txt"},
		{"in/**/2025/**", "in/2025/01/p.txt in/2025/r.txt"},
		{"in/**/_q.txt", "in/2024/02/_q.txt"},
		{"in/_*", "in/_SUCCESS in/_tmp/x.txt"},
		{"in/.h*", "in/.hidden"},
		{"**/z.txt", "input/z.txt"},
		{"i*/[a-z].txt", "in/a.txt in/b.txt input/z.txt"},
		{"odd/a b+c%20.txt", "odd/a b+c%20.txt"},
		{"odd/a b+c%*", "odd/a b+c%20.txt"},
		{"odd/[x].txt", "odd/[x].txt"}, // it is there as it is written
		{`odd/\[x].txt`, "odd/[x].txt"},
		{"odd/[x]*", "odd/x.txt"},
		{"odd/y*.txt", "odd/y*.txt"},
		{`odd/y\*.*`, "odd/y*.txt"},
		{"odd/y*.t*", "odd/y*.txt odd/yy.txt"},
		{"odd/?.txt", "odd/x.txt odd/é.txt"},
		{"odd/{k}.t*", "odd/{k}.txt"},
		{"odd/a,b.txt", "odd/a,b.txt"},
	} {
		t.Run(c.glob, func(t *testing.T) {
			got, err := storage.Glob(t.Context(), base+c.glob)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, info := range got {
				name := strings.TrimPrefix(info.Name, base)
				if info.Size != int64(len(name)) || info.Dir {
					t.Errorf("%s has size %d", name, info.Size)
				}
				names = append(names, name)
				again, err := storage.Glob(t.Context(), info.Name)
				if err != nil || len(again) != 1 || again[0].Name != info.Name {
					t.Errorf("Glob(%q) of a result: %v, %v", info.Name, again, err)
				}
			}
			want := regexp.MustCompile(` (in|odd)`).ReplaceAllString(c.want, "\n$1")
			if got := strings.Join(names, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestGlobErrors(t *testing.T) {
	base := fill(t, "in/a.txt", "marks/_SUCCESS")
	for _, c := range []struct {
		glob, says string
		is         error
	}{
		{"in/b.txt", "", storage.ErrNotExist},
		{"nowhere", "", storage.ErrNotExist},
		{"in/*.csv", "no file matches", storage.ErrNoMatch},
		{"nowhere/*", "no file matches", storage.ErrNoMatch},
		{"in/a.txt/*", "no file matches", storage.ErrNoMatch},
		{"in/a.txt/**", "no file matches", storage.ErrNoMatch},
		{"marks/*", "begin with . or _", storage.ErrNoMatch},
		{"in/{x,y}", "no file matches", storage.ErrNoMatch},
		{`in/\*`, "no file matches", storage.ErrNoMatch},
		{"in/[a", "no pattern", nil},
		{"in/**/[a", "no pattern", nil},
		{strings.Repeat("{a,b}", 20), "10,000", nil},
	} {
		got, err := storage.Glob(t.Context(), base+c.glob)
		e, ok := errors.AsType[*storage.Error](err)
		if !ok || got != nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || e.Path != base+c.glob {
			t.Errorf("Glob(%q) = %v, %v", c.glob, got, err)
		}
	}
	if got, err := storage.Glob(t.Context(), base+"marks"); err != nil || len(got) != 0 {
		t.Errorf("a folder that holds only marks: %v, %v", got, err)
	}
	if _, err := storage.Glob(t.Context(), "nosuch://x/*"); err == nil || !strings.Contains(err.Error(), "no driver") {
		t.Errorf("unknown scheme: %v", err)
	}
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	for _, g := range []string{"in", "in/*", "**/x"} {
		if _, err := storage.Glob(dead, base+g); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled Glob(%q): %v", g, err)
		}
	}
}

// TestGlobLocal is about what only real folders have: relative paths, broken links,
// and trees that a pattern must not enter.
func TestGlobLocal(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"in/a.txt", "in/b.txt", "in/deep/c.txt", "in/deep/.git/x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"in/deep/broken", "in/gone.csv", "in/.#a.txt"} {
		if err := os.Symlink("/nowhere", filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	check := func(glob string, want ...string) {
		t.Helper()
		infos, err := storage.Glob(t.Context(), glob)
		var got []string
		for _, i := range infos {
			got = append(got, i.Name)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Glob(%q) = %q, %v; want %q", glob, got, err, want)
		}
	}
	check("in/*.txt", dir+"/in/a.txt", dir+"/in/b.txt")
	check("./in/./a.txt", dir+"/in/a.txt")
	check("in//[a].txt", dir+"/in/a.txt")
	check("*/deep/c.*", dir+"/in/deep/c.txt")
	check("file://"+dir+"/in/*.txt", "file://"+dir+"/in/a.txt", "file://"+dir+"/in/b.txt")
	check("in/{"+strings.Repeat("x", 200)+","+strings.Repeat("y", 200)+",a.txt}", dir+"/in/a.txt")
	for _, glob := range []string{"in", "in/*", "in/deep", "in/*.csv", "in/**/c.txt"} {
		if _, err := storage.Glob(t.Context(), glob); err == nil || !strings.Contains(err.Error(), "broken link to /nowhere") {
			t.Errorf("Glob(%q) over a broken link: %v", glob, err)
		}
	}
}

// bare has no ability at all.
type bare struct{ storage.Filesystem }

func TestHelpersWithoutAbilities(t *testing.T) {
	fs := mem.New()
	for _, n := range []string{"f/a/x", "f/a.txt", "f/a/y/z", "top"} {
		if err := fs.CreateIfAbsent(t.Context(), n, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"f", "f/", "f/a", "", "top", "none"} {
		var got, want []string
		for i, err := range storage.ListFolder(t.Context(), bare{fs}, folder) {
			got = append(got, fmt.Sprint(i.Name, i.Dir, err))
		}
		for i, err := range fs.ListFolder(t.Context(), folder) {
			want = append(want, fmt.Sprint(i.Name, i.Dir, err))
		}
		if !slices.Equal(got, want) {
			t.Errorf("ListFolder(%q) = %q, want %q", folder, got, want)
		}
	}
	for _, name := range []string{"f", "f/a", "f/a.txt", "f/a/", "none", "f/a.tx"} {
		got, gerr := storage.Stat(t.Context(), bare{fs}, name)
		want, werr := fs.Stat(t.Context(), name)
		if got != want || errors.Is(gerr, storage.ErrNotExist) != errors.Is(werr, storage.ErrNotExist) {
			t.Errorf("Stat(%q) = %v, %v; want %v, %v", name, got, gerr, want, werr)
		}
	}
}

func TestAsBelievesForwarders(t *testing.T) {
	never := func(faulty.Op) error { return nil }
	if _, ok := storage.As[storage.Stater](faulty.Wrap(bare{mem.New()}, never)); ok {
		t.Error("a wrapper has an ability that what it wraps lacks")
	}
	got, ok := storage.As[storage.Stater](faulty.Wrap(mem.New(), never))
	if _, wrapper := got.(*faulty.FS); !ok || !wrapper {
		t.Errorf("the ability is asked of %T and not of the wrapper", got)
	}
}
