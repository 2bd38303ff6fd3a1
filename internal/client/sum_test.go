package client

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// The sum of a large file is kept until the file changes in any way; that it was kept is
// seen by a sum that is wrong on purpose.
func TestKeptSums(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nothing is kept but on Linux")
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "program")
	later := func() time.Time { return time.Now().Add(time.Hour) }
	s := sums{filepath.Join(dir, "cache", "sums.json"), later}
	write := func(content []byte) string {
		t.Helper()
		if err := os.WriteFile(name, content, 0o755); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		return hex.EncodeToString(sum[:])
	}
	check := func(s sums, want string) {
		t.Helper()
		a, err := s.sum(name)
		if err != nil || a.sha != want || a.path != name {
			t.Fatalf("the sum is %+v (%v), want %s", a, err, want)
		}
	}
	large := make([]byte, keepSumFrom)
	want := write(large)
	check(s, want)
	kept := s.kept()
	if len(kept) != 1 || kept[0].SHA256 != want || kept[0].File.Size != keepSumFrom {
		t.Fatalf("kept is %+v", kept)
	}
	const other = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	kept[0].SHA256 = other
	s.keep(kept[0])
	check(s, other)
	check(sums{"", later}, want)

	// The same size, one byte changed in place.
	large[7] = 1
	want = write(large)
	check(s, want)
	if kept = s.kept(); len(kept) != 1 || kept[0].SHA256 != want {
		t.Fatalf("kept is %+v", kept)
	}
	// A file that takes the place, as old as the first by its own account.
	large[7] = 2
	old := kept[0]
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	want = write(large)
	if err := os.Chtimes(name, time.Unix(0, old.File.Changed), time.Unix(0, old.File.Changed)); err != nil {
		t.Fatal(err)
	}
	check(s, want)

	// What has changed just now is not kept, nor what is small, nor what cannot be read.
	large[7] = 3
	want = write(large)
	before := fmt.Sprint(s.kept())
	check(sums{s.file, func() time.Time { return time.Unix(0, 0) }}, want)
	check(s, write([]byte("small")))
	if got := fmt.Sprint(s.kept()); got != before {
		t.Errorf("kept is %s, was %s", got, before)
	}
	if err := os.WriteFile(s.file, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(s, write(large))
	if len(s.kept()) != 1 {
		t.Error("a damaged file is not written anew")
	}
	for i := range 2 * keptSums {
		s.keep(keptSum{stamp{Path: fmt.Sprint(i)}, other})
	}
	if kept = s.kept(); len(kept) != keptSums || kept[0].File.Path != fmt.Sprint(2*keptSums-1) {
		t.Errorf("%d are kept, the first %+v", len(kept), kept[0])
	}
}
