package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/storage"
)

// inventory is everything below a folder, folders with a slash at their end, as
// the operating system tells it.
func inventory(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel := strings.TrimPrefix(p, dir+"/")
		if d.IsDir() {
			rel += "/"
		}
		all = append(all, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantInventory(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := inventory(t, dir); !slices.Equal(got, want) {
		t.Errorf("on disk: %q, want %q", got, want)
	}
}

func seal(t *testing.T, owner, name, data string) storage.Sealed {
	t.Helper()
	o, err := FS{}.Create(storage.WithOwner(t.Context(), owner), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	s, err := o.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOutputIsUntouchedUntilPublishAndNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	var all []storage.Sealed
	for _, name := range []string{"/out/part-0", "/out/year=2024/part-1", "/out/part-0", "/out/year=2024/m/part-2"} {
		all = append(all, seal(t, "job7", dir+name, name))
	}
	if _, err := os.Lstat(dir + "/out"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the output folder before anything is published: %v", err)
	}
	for _, s := range all {
		if !strings.HasPrefix(s.Token, dir+"/.divisi-job7/out/") {
			t.Errorf("attempt is at %s", s.Token)
		}
	}
	ok(t, FS{}.Publish(t.Context(), all[0]))
	ok(t, FS{}.Publish(t.Context(), all[1]))
	ok(t, FS{}.Discard(t.Context(), all[2]))
	ok(t, FS{}.Sweep(t.Context(), dir+"/out", "job7"))
	wantInventory(t, dir, "out/", "out/part-0", "out/year=2024/", "out/year=2024/part-1")
}

func TestAppendLeavesTheFolderAlone(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.MkdirAll(dir+"/out/old", 0o777))
	a := seal(t, "job7", dir+"/out/part-1", "x")
	wantInventory(t, dir+"/out", "old/")
	b := seal(t, "job7", dir+"/out/old/deep/part-2", "y") // its anchor is inside
	c := seal(t, "job7", dir+"/out/old/deep/part-3", "z")
	ok(t, FS{}.Publish(t.Context(), a))
	ok(t, FS{}.Publish(t.Context(), b))
	ok(t, FS{}.Sweep(t.Context(), dir+"/out", "job7"))
	wantInventory(t, dir, "out/", "out/old/", "out/old/deep/", "out/old/deep/part-2", "out/part-1")
	if err := (FS{}).Publish(t.Context(), c); !errors.Is(err, storage.ErrGone) {
		t.Errorf("what was swept: %v", err)
	}
}

func TestSweepFromAnyPrefix(t *testing.T) {
	for _, prefix := range []string{"", "/a", "/a/out", "/a/out/p=1", "/a/out/p=1/part-0"} {
		for _, exists := range []string{"", "/a", "/a/out", "/a/out/p=1"} {
			dir := t.TempDir()
			ok(t, os.MkdirAll(dir+exists, 0o777))
			before := inventory(t, dir)
			seal(t, "job7", dir+"/a/out/p=1/part-0", "x")
			ok(t, FS{}.Sweep(t.Context(), dir+prefix, "job7"))
			wantInventory(t, dir, before...)
		}
	}
}

func TestAbortAndFailedSealLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	o, err := FS{}.Create(t.Context(), dir+"/out/a")
	ok(t, err)
	ok(t, o.Abort(t.Context()))
	wantInventory(t, dir)
	o, err = FS{}.Create(t.Context(), dir+"/out/a")
	ok(t, err)
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Seal(dead); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantInventory(t, dir)
}

func TestSealOfWhatWasRemoved(t *testing.T) {
	name := t.TempDir() + "/out/a"
	o, err := FS{}.Create(t.Context(), name)
	ok(t, err)
	other, err := FS{}.Create(t.Context(), name) // keeps the folder alive
	ok(t, err)
	ok(t, os.Remove(o.(*object).temp))
	if s, err := o.Seal(t.Context()); !errors.Is(err, storage.ErrGone) {
		t.Errorf("%+v, %v", s, err)
	}
	s, err := other.Seal(t.Context())
	ok(t, err)
	ok(t, FS{}.Publish(t.Context(), s))
}

func TestCreateIfAbsentLeavesOneFile(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		err := FS{}.CreateIfAbsent(t.Context(), dir+"/a/b/c", []byte("x"))
		if err != nil && !errors.Is(err, storage.ErrExist) {
			t.Fatal(err)
		}
	}
	wantInventory(t, dir, "a/", "a/b/", "a/b/c")
	if err := (FS{}).CreateIfAbsent(t.Context(), dir+"/a/b", nil); !errors.Is(err, storage.ErrExist) {
		t.Errorf("over a folder: %v", err)
	}
	if err := (FS{}).CreateIfAbsent(t.Context(), dir+"/a/b/c/d", nil); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("below a file: %v", err)
	}
	wantInventory(t, dir, "a/", "a/b/", "a/b/c")
}

func TestWaysBlocked(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.WriteFile(dir+"/file", nil, 0o666))
	for _, name := range []string{"/file/a", "/file/a/b", "/file/a/b/c"} {
		if _, err := (FS{}).Create(t.Context(), dir+name); err == nil || !strings.Contains(err.Error(), dir+"/file is a file and no folder") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := seal(t, "j", dir+"/out/a", "x")
	ok(t, os.MkdirAll(dir+"/out/a", 0o777))
	if err := (FS{}).Publish(t.Context(), s); err == nil || !strings.Contains(err.Error(), "folder is in the way") {
		t.Errorf("publish onto a folder: %v", err)
	}
	ok(t, os.RemoveAll(dir+"/out"))
	ok(t, os.WriteFile(dir+"/out", nil, 0o666))
	if err := (FS{}).Publish(t.Context(), s); err == nil || !strings.Contains(err.Error(), "is a file and no folder") {
		t.Errorf("publish below a file: %v", err)
	}
	for _, name := range []string{dir + "/.divisi-x/a", dir + "/.divisi", "/.divisi-/a/b"} {
		if _, err := (FS{}).Create(t.Context(), name); err == nil || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForgedTokens is about receipts from untrusted tasks: they move and delete
// attempts for their own name only.
func TestForgedTokens(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.MkdirAll(dir+"/.divisi-j/out/victim", 0o777))
	precious := dir + "/precious"
	for _, p := range []string{precious, dir + "/.divisi-j/out/victim/attempt-1"} {
		ok(t, os.WriteFile(p, []byte("x"), 0o666))
	}
	before := inventory(t, dir)
	for _, token := range []string{
		"", "/", precious, dir + "/.divisi-j/out/victim/attempt-1", dir + "/.divisi-j/out/a/../victim/attempt-1",
		dir + "/.divisi-j/out/a/../../../precious", dir + "/.divisi-j/out/a/x", "attempt-1", ".divisi/attempt-1",
		dir + "/.divisi-j/attempt-1",
	} {
		s := storage.Sealed{Name: dir + "/out/a", Token: token, Size: 1, CRC32: 0x0}
		if err := (FS{}).Publish(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no attempt for this name") {
			t.Errorf("Publish with token %q: %v", token, err)
		}
		if err := (FS{}).Discard(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no attempt for this name") {
			t.Errorf("Discard with token %q: %v", token, err)
		}
	}
	wantInventory(t, dir, before...)
}

func TestLinksInPlaceOfAttempts(t *testing.T) {
	dir := t.TempDir()
	victim := t.TempDir()
	ok(t, os.Mkdir(victim+"/out", 0o777))
	ok(t, os.WriteFile(victim+"/out/a", nil, 0o666))
	ok(t, os.Symlink(victim, dir+"/.divisi-j"))
	ctx := storage.WithOwner(t.Context(), "j")
	_, cerr := FS{}.Create(ctx, dir+"/out/a")
	for what, err := range map[string]error{
		"Create": cerr,
		"Sweep":  FS{}.Sweep(ctx, dir+"/out", "j"),
		"Remove": FS{}.Remove(ctx, dir+"/out"),
	} {
		if err == nil || !strings.Contains(err.Error(), dir+"/.divisi-j is no folder") {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantInventory(t, victim, "out/", "out/a")

	ok(t, os.Remove(dir+"/.divisi-j"))
	seal(t, "j", dir+"/out/sub/a", "x")
	ok(t, os.Symlink(victim+"/out", dir+"/.divisi-j/out/link"))
	ok(t, FS{}.Sweep(ctx, dir+"/out", "j"))
	wantInventory(t, victim, "out/", "out/a")
	wantInventory(t, dir)
}

func TestChangedAfterSeal(t *testing.T) {
	dir := t.TempDir()
	s := seal(t, "j", dir+"/out/a", "whole")
	ok(t, os.Truncate(s.Token, 3))
	if err := (FS{}).Publish(t.Context(), s); err == nil || !strings.Contains(err.Error(), "changed after it was sealed") {
		t.Error(err)
	}
	if _, err := os.Lstat(dir + "/out"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the output was touched: %v", err)
	}
}

func TestOwnersHaveFoldersOfTheirOwn(t *testing.T) {
	owners := []string{"", "a", "A", "a/b", "a%2fb", "..", "%", "ü", "\x00", strings.Repeat("x", 300), strings.Repeat("x", 301), strings.Repeat("/", 100)}
	seen := map[string]string{}
	for _, o := range owners {
		f := storage.OwnerFolder(o)
		if !storage.IsOwnerFolder(f) || len(f) > 255 || strings.ContainsAny(f, "/\x00") {
			t.Errorf("folder of %q is %q", o, f)
		}
		if other, twice := seen[strings.ToLower(f)]; twice {
			t.Errorf("%q and %q share %q", o, other, f)
		}
		seen[strings.ToLower(f)] = o
	}
}

// TestAcrossMounts publishes to a folder that turns out to be on another disk.
func TestAcrossMounts(t *testing.T) {
	dir := t.TempDir()
	other, err := os.MkdirTemp("/dev/shm", "divisi-test-")
	if err != nil {
		t.Skip("no second file system: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(other) })
	if sameDevice(dir, other) {
		t.Skip("no second file system at /dev/shm")
	}
	late := seal(t, "job7", dir+"/out/a", "late") // made while out was not there
	forged := seal(t, "job7", dir+"/out/b", "1234")
	ok(t, os.Symlink(other, dir+"/out"))
	early := seal(t, "job7", dir+"/out/c", "early")
	if !strings.HasPrefix(early.Token, dir+"/out/.divisi-job7/") {
		t.Errorf("attempt is at %s, which no rename can move", early.Token)
	}
	for _, s := range []storage.Sealed{late, late, early, early} {
		ok(t, FS{}.Publish(t.Context(), s))
	}
	ok(t, os.WriteFile(forged.Token, []byte("4321"), 0o666))
	if err := (FS{}).Publish(t.Context(), forged); err == nil || !strings.Contains(err.Error(), "changed after it was sealed") {
		t.Error(err)
	}
	ok(t, FS{}.Discard(t.Context(), forged))
	if err := createIfAbsent(t.Context(), dir+"/out/d", []byte("d"), true); err != nil {
		t.Error(err)
	}
	wantInventory(t, other, "a", "c", "d")
	wantInventory(t, dir, "out")
	if got, err := os.ReadFile(other + "/a"); string(got) != "late" {
		t.Errorf("%q, %v", got, err)
	}
	seal(t, "job7", dir+"/out/e", "left")
	ok(t, FS{}.Sweep(t.Context(), dir+"/out", "job7"))
	wantInventory(t, other, "a", "c", "d")
}
