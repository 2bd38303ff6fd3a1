package files

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// publisherAt looks at the commit of an output that is a folder of the test.
func publisherAt(t *testing.T, dir, job string) *publisher {
	t.Helper()
	fs, out, err := storage.Resolve(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{sink: &sink{path: dir}, fs: fs, out: out, commit: dataflow.Commit{Job: job}}
}

var goldenManifest = manifest{
	Job: "j-0123456789abcdef", Base: 2,
	Parts: []storage.Sealed{
		{Name: "/data/out/part-00002", Token: "/data/.divisi-j/out/part-00002/attempt-1", Size: 12, CRC32: 0xdeadbeef},
		{Name: "/data/out/part-00003 é", Size: 0},
	},
	Delete: []string{"/data/out/_SUCCESS"},
}

func goldenFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "manifest", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The golden files are of both versions and read for ever; the second is what is
// written today.
func TestManifestGolden(t *testing.T) {
	want := goldenManifest
	want.Version = 2
	today, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	turn := encodeTurn(want.Job)
	if os.Getenv("DIVISI_WRITE_GOLDEN") != "" {
		for name, b := range map[string][]byte{"manifest-v2": today, "turn-v2": turn} {
			if err := os.WriteFile(filepath.Join("testdata", "manifest", name), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(goldenFile(t, "manifest-v2"), today) || !bytes.Equal(goldenFile(t, "turn-v2"), turn) {
		t.Error("what is written today differs from the golden files: give the format a new version")
	}
	for version, name := range []string{1: "manifest-v1", 2: "manifest-v2"} {
		if name == "" {
			continue
		}
		want.Version = version
		if got, err := decodeManifest(goldenFile(t, name)); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
		if err := InspectManifest(io.Discard, name, goldenFile(t, name)); err != nil {
			t.Errorf("inspect %s: %v", name, err)
		}
	}
	for _, name := range []string{"turn-v1", "turn-v2"} {
		if job, err := decodeTurn(goldenFile(t, name)); err != nil || job != want.Job {
			t.Errorf("%s: %q, %v, want %q", name, job, err, want.Job)
		}
		if err := InspectManifest(io.Discard, name, goldenFile(t, name)); err != nil {
			t.Errorf("inspect %s: %v", name, err)
		}
	}
}

// damages are all flips of a byte and all cuts of a file.
func damages(whole []byte, each func(what string, at int, b []byte)) {
	for i := range whole {
		for bit := range 9 {
			b := bytes.Clone(whole)
			if bit == 8 {
				b[i] ^= 0xff
			} else {
				b[i] ^= 1 << bit
			}
			each("flipped", i, b)
		}
		each("cut", i, whole[:i])
	}
	each("longer", len(whole), append(bytes.Clone(whole), '\n'))
}

// Nothing that happens to the two files is taken for a decision, or for none.
func TestManifestDamage(t *testing.T) {
	damages(goldenFile(t, "manifest-v2"), func(what string, at int, b []byte) {
		if m, err := decodeManifest(b); err == nil {
			t.Errorf("manifest %s at %d: %+v", what, at, m)
		}
		if err := InspectManifest(io.Discard, "f", b); dataflow.KindOf(err) != dataflow.Corrupt {
			t.Errorf("inspect: manifest %s at %d: %v", what, at, err)
		}
	})
	damages(goldenFile(t, "turn-v2"), func(what string, at int, b []byte) {
		if job, err := decodeTurn(b); err == nil {
			t.Errorf("turn %s at %d: %q", what, at, job)
		}
		if err := InspectManifest(io.Discard, "f", b); dataflow.KindOf(err) != dataflow.Corrupt {
			t.Errorf("inspect: turn %s at %d: %v", what, at, err)
		}
	})
}

// A commit that finds either file damaged says so by name, in Publish and in Clean,
// and changes nothing.
func TestDamagedCommitIsNamed(t *testing.T) {
	for _, name := range []string{"_manifest", "_manifest-j"} {
		dir := t.TempDir()
		p := publisherAt(t, dir, "j")
		whole, err := (&manifest{Version: 2, Job: "j"}).encode()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string][]byte{"_manifest": encodeTurn("j"), "_manifest-j": whole}
		all[name] = bytes.Clone(all[name])
		all[name][len(all[name])-1] ^= 1
		for n, b := range all {
			if err := os.WriteFile(filepath.Join(dir, n), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for what, do := range map[string]func() error{
			"publish": func() error { return p.sink.Publish(t.Context(), p.commit, nil) },
			"clean":   func() error { return p.sink.Clean(t.Context(), p.commit) },
		} {
			if err := do(); dataflow.KindOf(err) != dataflow.Corrupt || !bytes.Contains([]byte(err.Error()), []byte(name)) {
				t.Errorf("%s with a damaged %s: %v", what, name, err)
			}
			for n, b := range all {
				if now, err := os.ReadFile(filepath.Join(dir, n)); err != nil || !bytes.Equal(now, b) {
					t.Errorf("%s with a damaged %s changed %s: %q, %v", what, name, n, now, err)
				}
			}
		}
	}
}

// Whatever the files hold, reading them ends in an error or in what makes the same
// decision when written again.
func FuzzManifest(f *testing.F) {
	for _, name := range []string{"manifest-v1", "manifest-v2", "turn-v1", "turn-v2"} {
		f.Add(goldenFile(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = InspectManifest(io.Discard, "f", b)
		if job, err := decodeTurn(b); err == nil && job == "" {
			t.Error("a turn of nobody")
		}
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		m.Version = 2
		raw, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeManifest(raw); err != nil || again.Job == "" {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
