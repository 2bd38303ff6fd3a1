package local

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/divisi-data/divisi/storage"
	"golang.org/x/sys/unix"
)

// asNobody runs f as a user without rights, which root's tests need to be refused.
func asNobody(t *testing.T, f func()) {
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with the goroutine
		unix.SetfsuidRetUid(65534)
		unix.SetfsgidRetGid(65534)
		f()
	}()
	<-done
}

func TestUnreadableFolder(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Chmod(dir[:strings.LastIndexByte(dir, '/')], 0o755))
	write(t, dir+"/in/a", "x")
	write(t, dir+"/in/shut/b", "x")
	write(t, dir+"/in/.shut/b", "x")
	for _, d := range []string{"/in/shut", "/in/.shut"} {
		ok(t, os.Chmod(dir+d, 0))
		t.Cleanup(func() { os.Chmod(dir+d, 0o755) })
	}
	asNobody(t, func() {
		wantListError(t, dir+"/in", dir+"/in/shut: permission denied")
		wantListError(t, dir+"/in/.shut", "permission denied")
		_, err := FS{}.Open(t.Context(), dir+"/in/shut/b")
		if !errors.Is(err, storage.ErrPermission) {
			t.Error(err)
		}
		for info, err := range (FS{}).ListFolder(t.Context(), dir+"/in/shut") {
			if info.Name != "" || !errors.Is(err, storage.ErrPermission) {
				t.Errorf("ListFolder: %+v, %v", info, err)
			}
		}
	})
	ok(t, os.Chmod(dir+"/in/shut", 0o755))
	asNobody(t, func() { wantList(t, dir, "/in", "/in/a", "/in/shut/b") })
}

// TestFolderAboveIsReadOnly is the home directory: its owner writes into it, and
// not beside it.
func TestFolderAboveIsReadOnly(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Chmod(dir[:strings.LastIndexByte(dir, '/')], 0o755))
	ok(t, os.Mkdir(dir+"/home", 0o777))
	ok(t, os.Chmod(dir+"/home", 0o777))
	ok(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	asNobody(t, func() {
		o, err := FS{}.Create(storage.WithOwner(t.Context(), "j"), dir+"/home/a")
		if err != nil {
			t.Error(err)
			return
		}
		s, err := o.Seal(t.Context())
		if err = errors.Join(err, FS{}.Publish(t.Context(), s), FS{}.Publish(t.Context(), s)); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(s.Token, dir+"/home/.divisi-j/") {
			t.Errorf("attempt is at %s", s.Token)
		}
		if err := (FS{}).Sweep(t.Context(), dir+"/home", "j"); err != nil {
			t.Error(err)
		}
		if _, err := (FS{}).Create(t.Context(), dir+"/new/a"); !errors.Is(err, storage.ErrPermission) {
			t.Errorf("where nothing may be made: %v", err)
		}
	})
	wantInventory(t, dir, "home/", "home/a")
}

func TestPipesAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/in/a", "x")
	ok(t, syscall.Mkfifo(dir+"/in/pipe", 0o666))
	wantList(t, dir, "/in", "/in/a")
	wantList(t, dir, "/in/pipe")
	if _, err := (FS{}).Open(t.Context(), dir+"/in/pipe"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Error(err)
	}
	// Nor taken for empty: a job whose input is <(zcat a.gz) would end well without rows.
	if _, err := (FS{}).Stat(t.Context(), dir+"/in/pipe"); !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), "a pipe") {
		t.Error(err)
	}
	if _, err := (FS{}).Stat(t.Context(), "/dev/zero"); !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), "a device") {
		t.Error(err)
	}
	if i, err := (FS{}).Stat(t.Context(), os.DevNull); err != nil || i.Size != 0 {
		t.Error(i, err)
	}
}

// A folder that holds itself is the user's to mend: trying again does not help.
func TestLinkIntoItself(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Symlink(".", dir+"/self"))
	for _, err := range (FS{}).List(t.Context(), dir) {
		if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), "without end") {
			t.Error(err)
		}
	}
}

// TestDiskFull needs a disk of its own to fill.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	o, err := FS{}.Create(t.Context(), dir+"/out/a")
	ok(t, err)
	for err == nil {
		_, err = o.Write(make([]byte, 50_000))
	}
	if e, ok := errors.AsType[*storage.Error](err); !ok || e.Path != dir+"/out/a" || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free space") {
		t.Error(err)
	}
	if _, err := o.Seal(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Seal after a failed Write: %v", err)
	}
	wantInventory(t, dir)
}

func TestMoveIfFree(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a", "a")
	write(t, dir+"/b", "b")
	if err := moveIfFree(dir+"/a", dir+"/b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto what is there: %v", err)
	}
	ok(t, moveIfFree(dir+"/a", dir+"/c"))
	wantInventory(t, dir, "b", "c")
}

func TestLinkAnsweredTwice(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/temp", "a")
	ok(t, linkIfFree(dir+"/temp", dir+"/name"))
	ok(t, linkIfFree(dir+"/temp", dir+"/name")) // the same bytes of the same writer
	write(t, dir+"/other", "a")
	if err := linkIfFree(dir+"/other", dir+"/name"); err != storage.ErrExist {
		t.Error(err)
	}
}
