package local

import (
	"path/filepath"
	"testing"

	"github.com/divisi-data/divisi/storage"
)

func TestRelativePathsStartWhereTheJobWasSubmitted(t *testing.T) {
	elsewhere, there := t.TempDir(), t.TempDir()
	t.Chdir(elsewhere)
	for _, c := range []struct{ env, uri, want string }{
		{"", "a/b", filepath.Join(elsewhere, "a/b")},
		{there, "a/b", filepath.Join(there, "a/b")},
		{there, "../x", filepath.Join(filepath.Dir(there), "x")},
		{there, "/a/b", "/a/b"},
		{there, "file:///a/b", "/a/b"},
	} {
		t.Setenv(workDirEnv, c.env)
		_, name, err := storage.Resolve(t.Context(), c.uri)
		if err != nil || name != filepath.ToSlash(c.want) {
			t.Errorf("%s with %q is %s (%v), want %s", c.uri, c.env, name, err, c.want)
		}
	}
}
