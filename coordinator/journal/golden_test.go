package journal

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// goldenLog is a log of three records by the first version, goldenSnapshot a snapshot of
// two of them.
const (
	goldenLog      = "testdata/golden/journal-0000000000000001.dvj"
	goldenSnapshot = "testdata/snapshot/snapshot-0000000000000003.dvj"
)

// TestGolden: what the first version has written is read for ever.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Options{})
	add(t, j, names(0, 3)...)
	must(t, j.Close())
	compareGolden(t, filepath.Join(dir, filepath.Base(goldenLog)), goldenLog)
	had, err := held(t, filepath.Dir(goldenLog))
	must(t, err)
	same(t, had, names(0, 3))

	var all []Record
	j, err = Open(dir, Options{}, func(r Record) error { all = append(all, r); return nil })
	must(t, err)
	must(t, j.Start(2, slices.Values([]Record{all[0], all[2]})))
	must(t, j.Close())
	compareGolden(t, filepath.Join(dir, filepath.Base(goldenSnapshot)), goldenSnapshot)
	had, err = held(t, filepath.Dir(goldenSnapshot))
	must(t, err)
	same(t, had, []string{"job-0", "job-2"})
}

func compareGolden(t *testing.T, name, golden string) {
	t.Helper()
	now, err := os.ReadFile(name)
	must(t, err)
	if *rewrite {
		must(t, os.MkdirAll(filepath.Dir(golden), 0o755))
		must(t, os.WriteFile(golden, now, 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if !bytes.Equal(now, want) {
		t.Errorf("%s: today's differs from the golden one: give the format a new version", golden)
	}
}

// TestGoldenDamaged turns over each bit of the golden files and cuts them at each length.
// It is always said, by an error or as a write that was cut short, with file and offset;
// but for a log that ends between two records, which is what it was before the next one.
func TestGoldenDamaged(t *testing.T) {
	for _, golden := range []string{goldenLog, goldenSnapshot} {
		whole, err := os.ReadFile(golden)
		must(t, err)
		ends := map[int]int{int(headerBytes): 0} // of records: offset -> how many
		for off := int(headerBytes); off < len(whole); {
			_, _, _, n, err := parseRecord(whole[off:])
			must(t, err)
			ends[off+n] = ends[off] + 1
			off += n
		}
		name := filepath.Join(t.TempDir(), filepath.Base(golden))
		inspect := func(b []byte) (n int, cut *Cut, err error) {
			must(t, os.WriteFile(name, b, 0o600))
			cut, err = Inspect(name, func(Record) error { n++; return nil })
			// The folder says the same.
			m := 0
			again, ferr := Inspect(filepath.Dir(name), func(Record) error { m++; return nil })
			if (again == nil) != (cut == nil) || (ferr == nil) != (err == nil) || m != n {
				t.Fatalf("the file: %d records, %v, %v; its folder: %d, %v, %v", n, cut, err, m, again, ferr)
			}
			return n, cut, err
		}
		said := func(what string, at int, cut *Cut, err error) {
			t.Helper()
			var corrupt *ErrJournalCorrupt
			switch {
			case errors.As(err, &corrupt):
				if corrupt.File != name || corrupt.Offset > int64(at) {
					t.Fatalf("%s: %s %d: %v", golden, what, at, err)
				}
			case err != nil:
				t.Fatalf("%s: %s %d: %v", golden, what, at, err)
			case cut == nil:
				t.Fatalf("%s: %s %d: nothing is said", golden, what, at)
			case cut.File != name || cut.Offset > int64(at) || golden == goldenSnapshot:
				t.Fatalf("%s: %s %d: %+v", golden, what, at, cut)
			}
		}
		for i := range whole {
			for bit := range 8 {
				b := bytes.Clone(whole)
				b[i] ^= 1 << bit
				_, cut, err := inspect(b)
				said("flipped", i, cut, err)
			}
			n, cut, err := inspect(whole[:i])
			if whole, end := ends[i]; end && golden == goldenLog {
				if n != whole || cut != nil || err != nil {
					t.Fatalf("cut after record %d: %d records, %v, %v", whole, n, cut, err)
				}
				continue
			}
			said("cut to", i, cut, err)
		}
		if n, cut, err := inspect(whole); n < 2 || cut != nil || err != nil {
			t.Errorf("%s: %d records, %v, %v", golden, n, cut, err)
		}
	}
}
