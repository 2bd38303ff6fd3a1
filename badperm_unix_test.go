//go:build unix

package divisi_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/divisi-data/divisi/storage"
)

// asNobody lets the whole process be a user without rights until the test ends, which
// root's tests need to be refused anything.
func asNobody(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	if err := syscall.Seteuid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Seteuid(0); err != nil {
			t.Fatal(err)
		}
	})
}

// TestBadPermissions: files that may not be read, folders that may not be written to.
func TestBadPermissions(t *testing.T) {
	dir := t.TempDir()
	in, shut := filepath.Join(dir, "in"), filepath.Join(dir, "shut")
	secret, inside := filepath.Join(dir, "secret"), filepath.Join(shut, "in")
	tmp := filepath.Join(dir, "tmp")
	for _, f := range []string{shut, tmp} {
		if err := os.Mkdir(f, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{in, secret, inside} {
		if err := os.WriteFile(f, []byte("one\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o555, tmp: 0o777, secret: 0, shut: 0} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755); os.Chmod(shut, 0o755) })
	t.Setenv("TMPDIR", tmp)
	asNobody(t)
	runBad(t, []badRow{
		{name: "a file that may not be read", job: copyLines, in: secret, is: storage.ErrPermission, says: []string{secret, "permission denied"}},
		{name: "a folder that may not be listed", job: copyLines, in: shut, is: storage.ErrPermission, says: []string{shut, "permission denied"}},
		{name: "a file in a folder that may not be passed", job: copyLines, in: inside, is: storage.ErrPermission, says: []string{inside, "permission denied"}},
		{name: "a folder that may not be written to", job: copyLines, in: in, out: filepath.Join(dir, "out"), is: storage.ErrPermission, says: []string{dir, "permission denied"}},
		{name: "an output in a folder that may not be passed", job: copyLines, in: in, out: filepath.Join(shut, "out"), is: storage.ErrPermission, says: []string{shut, "permission denied"}},
	})
}
