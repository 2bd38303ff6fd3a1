package storage

import (
	"strings"
	"testing"
)

func TestOwnerFolder(t *testing.T) {
	seen := map[string]string{}
	for _, owner := range []string{"", "job-1", "JOB-1", "job/1", "a%2fb", "a b", ".", "..", "\xff\x00", "é", strings.Repeat("x", 200), strings.Repeat("x", 300), strings.Repeat("x", 301), strings.Repeat("X", 100)} {
		f := OwnerFolder(owner)
		if other, twice := seen[strings.ToLower(f)]; twice || len(f) > 255 || strings.ContainsAny(f, "/ \x00") || !IsOwnerFolder(f) {
			t.Errorf("the folder of %q is %q (that of %q too: %v)", owner, f, other, twice)
		}
		seen[strings.ToLower(f)] = owner
		got, ok := FolderOwner(f)
		if short := strings.Contains(f, "%") && len(f) > 150; short != IsShortened(got) || !ok || !short && got != owner || OwnerFolder(got) != f {
			t.Errorf("the owner of %q is %q, %v, want %q or, if it is short, itself", f, got, ok, owner)
		}
	}
	for _, base := range []string{"divisi-x", ".divisi-", ".divisix", ".divisi-A", ".divisi-%zz", ".divisi-a%2Fb", ".divisi-" + strings.Repeat("x", 120) + "%" + strings.Repeat("z", 64)} {
		if owner, ok := FolderOwner(base); ok {
			t.Errorf("%q is taken for the folder of %q", base, owner)
		}
	}
}
