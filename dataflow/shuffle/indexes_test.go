package shuffle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/divisi-data/divisi/dataflow"
)

// stored makes the two files of an output of one partition.
func stored(t *testing.T, dir, name string, data string) string {
	t.Helper()
	x := Index{Schema: 1, Entries: []Entry{{Bytes: int64(len(data)), Rows: 1}}}
	output := filepath.Join(dir, name)
	for file, b := range map[string][]byte{DataPath(output): []byte(data), IndexPath(output): x.encode()} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return output
}

// TestIndexes: an index is read once for each file that there is, and not once more.
func TestIndexes(t *testing.T) {
	var known Indexes
	dir := t.TempDir()
	output := stored(t, dir, "a", "first")
	read := func(known *Indexes, want string) *Index {
		t.Helper()
		f, err := known.OpenFile(output)
		if err != nil {
			t.Fatal(err)
		}
		_, data := f.Stored()
		if got, err := io.ReadAll(data); string(got) != want || err != nil {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		return f.Index
	}
	first := read(&known, "first")
	if read(&known, "first") != first {
		t.Error("the index was read again")
	}
	if read(nil, "first") == first {
		t.Error("no index is known, and none was read")
	}
	if err := os.Remove(DataPath(output)); err != nil {
		t.Fatal(err)
	}
	if _, err := known.OpenFile(output); dataflow.KindOf(err) != dataflow.InputLost || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an output that is lost: %v", err)
	}
	stored(t, dir, "a", "the second")
	if second := read(&known, "the second"); second.Bytes() != 10 {
		t.Errorf("another output: %d bytes", second.Bytes())
	}
	// Of the same size, in the same file, by its time alone another.
	stored(t, dir, "a", "the thirds")
	if err := os.Chtimes(DataPath(output), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	before := read(&known, "the thirds")
	if err := os.Truncate(DataPath(output), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := known.OpenFile(output); dataflow.KindOf(err) != dataflow.Corrupt {
		t.Errorf("an output that is cut short: %v", err)
	}
	stored(t, dir, "a", "the thirds")
	if read(&known, "the thirds") == before {
		t.Error("the index was not read again")
	}
}

// TestIndexesAreBounded: there may be more of them than there is room.
func TestIndexesAreBounded(t *testing.T) {
	var known Indexes
	entries := make([]Entry, 20_000)
	for i := range 100 {
		known.put(fmt.Sprint(i%70), knownIndex{index: &Index{Entries: entries[:len(entries)-i]}})
		sum := int64(0)
		for _, k := range known.of {
			sum += k.cost()
		}
		if _, ok := known.get(fmt.Sprint(i % 70)); !ok || sum != known.bytes || sum > indexesBytes {
			t.Fatalf("after %d: there %v, %d bytes, counted %d", i, ok, sum, known.bytes)
		}
	}
	if len(known.of) < 10 {
		t.Errorf("only %d are kept", len(known.of))
	}
	known.put("huge", knownIndex{index: &Index{Entries: make([]Entry, indexesBytes/indexEntry+1)}})
	if _, ok := known.get("huge"); ok {
		t.Error("what has no room is kept")
	}
}
