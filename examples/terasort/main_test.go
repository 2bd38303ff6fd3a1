package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
)

// TestMain makes the test binary the program itself where it is asked to: check
// starts itself.
func TestMain(m *testing.M) {
	if os.Getenv("TERASORT_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// terasortCommand runs the program.
func terasortCommand(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), "TERASORT_MAIN=1")
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// parts is what the files of an output hold, in order of their names.
func parts(t *testing.T, dir string) [][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "part-*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	var all [][]byte
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// records cuts bytes into records.
func records(b []byte) (rs []string) {
	for r := range slices.Chunk(b, recordBytes) {
		rs = append(rs, string(r))
	}
	return rs
}

func writeFiles(t *testing.T, files ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	for i, b := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("part-%05d", i)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func printed(b []byte) string {
	var sum uint64
	for _, r := range records(b) {
		sum += uint64(crc32.ChecksumIEEE([]byte(r)))
	}
	return fmt.Sprintf("rows\t%d\nchecksum\t%x\n", len(b)/recordBytes, sum)
}

func run(t *testing.T, partitions int, args ...string) {
	t.Helper()
	_, err := divisi.Run(context.Background(), terasort, args,
		divisi.Partitions(partitions), divisi.Parallelism(2), divisi.TempDir(t.TempDir()), divisi.Check())
	if err != nil {
		t.Fatal(err)
	}
}

func TestGenerate(t *testing.T) {
	want := []byte("\xc3\x81\x31\x9f\xb8\x1b\xd9\x42\x2a\xd5\x00\x1100000000000000000000000000000007\x88\x99\xaa\xbb")
	got := make([]byte, recordBytes)
	fill(got, 7)
	if len(want) != 48 || !bytes.Equal(got[10:48], want[10:]) || !bytes.Equal(got[96:], []byte("\xcc\xdd\xee\xff")) {
		t.Errorf("record 7 is % x", got)
	}
	for i := 48; i < 96; i += 4 {
		if c := got[i]; !strings.Contains("0123456789ABCDEF", string(c)) || !bytes.Equal(got[i:i+4], []byte{c, c, c, c}) {
			t.Errorf("filler % x", got[48:96])
		}
	}
	// Each byte of the keys takes all 256 values about equally often.
	var seen [keyBytes][256]int
	rec := make([]byte, recordBytes)
	const n = 256 * 400
	for row := range uint64(n) {
		fill(rec, row)
		for i, b := range rec[:keyBytes] {
			seen[i][b]++
		}
	}
	for i := range seen {
		if least, most := slices.Min(seen[i][:]), slices.Max(seen[i][:]); least < 300 || most > 500 {
			t.Errorf("byte %d of the keys: values occur %d to %d times, want about 400", i, least, most)
		}
	}
}

func TestGen(t *testing.T) {
	for _, c := range []struct {
		rows, parts, files int
	}{{0, 0, 0}, {1, 0, 1}, {5000, 0, 5}, {5000, 3, 3}, {2, 5, 2}} { // no rows, no file
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "out")
			run(t, 2, "gen", fmt.Sprint(c.rows), dir, "--parts", fmt.Sprint(c.parts))
			got := parts(t, dir)
			var want []byte
			for row := range uint64(c.rows) {
				rec := make([]byte, recordBytes)
				fill(rec, row)
				want = append(want, rec...)
			}
			if !bytes.Equal(bytes.Join(got, nil), want) {
				t.Errorf("%d bytes that are not the %d of the rows in order", len(bytes.Join(got, nil)), len(want))
			}
			if len(got) != c.files {
				t.Errorf("%d files, want %d", len(got), c.files)
			}
		})
	}
}

func TestSort(t *testing.T) {
	rnd := rand.New(rand.NewPCG(19, 20))
	random := func(n, hot int) []byte {
		b := make([]byte, n*recordBytes)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		for i := range n {
			if rnd.IntN(10) < hot {
				copy(b[i*recordBytes:], "\x80\x00the same")
			}
		}
		return b
	}
	for name, in := range map[string][][]byte{
		"ordinary":   {random(3000, 0), random(1, 0), nil, random(500, 0)},
		"empty":      {nil},
		"one record": {random(1, 0)},
		"skewed":     {random(3000, 9)},
		"all alike":  {random(500, 10)},
	} {
		for _, partitions := range []int{1, 2, 7} {
			t.Run(fmt.Sprintf("%s, %d partitions", name, partitions), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "out")
				run(t, partitions, "sort", writeFiles(t, in...), dir)
				all := bytes.Join(parts(t, dir), nil)
				got, want := records(all), records(bytes.Join(in, nil))
				if !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(a[:keyBytes], b[:keyBytes]) }) {
					t.Error("not in order")
				}
				// Of records with the same key any order is right.
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%d records, or others than the %d of the input", len(got), len(want))
				}
			})
		}
	}
}

func TestValidate(t *testing.T) {
	var sorted []byte
	for i := range 250 {
		rec := make([]byte, recordBytes)
		fill(rec, uint64(i))
		rec[0], rec[1] = 0xff, byte(i) // the largest byte is larger than the others
		sorted = append(sorted, rec...)
	}
	swapped := bytes.Clone(sorted)
	copy(swapped[120*recordBytes:], sorted[121*recordBytes:122*recordBytes])
	copy(swapped[121*recordBytes:], sorted[120*recordBytes:121*recordBytes])
	cut := len(sorted) / 2 / recordBytes * recordBytes
	for _, c := range []struct {
		name, command string
		files         [][]byte
		code          int
		out, says     string
	}{
		{"in order", "validate", [][]byte{sorted[:cut], sorted[cut:]}, 0, printed(sorted), ""},
		{"with an empty file", "validate", [][]byte{nil, sorted[:cut], nil, sorted[cut:], nil}, 0, printed(sorted), ""},
		{"alike", "validate", [][]byte{sorted[:100], sorted[:100]}, 0, printed(slices.Concat(sorted[:100], sorted[:100])), ""},
		{"nothing", "validate", [][]byte{nil}, 0, "rows\t0\nchecksum\t0\n", ""},
		{"within a file", "validate", [][]byte{swapped}, 7, printed(sorted), "1 records have a smaller key than the one before them"},
		{"between files", "validate", [][]byte{sorted[cut:], sorted[:cut]}, 7, printed(sorted), "1 records have a smaller key"},
		{"between files, unordered", "checksum", [][]byte{sorted[cut:], sorted[:cut]}, 0, printed(sorted), ""},
		{"cut short", "validate", [][]byte{sorted[:len(sorted)-1]}, 7, printed(sorted[:len(sorted)-recordBytes]), "1 files end inside a record of 100 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, errs, code := terasortCommand(t, "--progress", "none", "--parallelism", "2", "--", c.command, writeFiles(t, c.files...))
			if code != c.code || out != c.out || !strings.Contains(errs, c.says) || c.says == "" && errs != "" {
				t.Errorf("exit code %d, %q, %q; want %d, %q, %q", code, out, errs, c.code, c.out, c.says)
			}
		})
	}
}

func TestWrongArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"usage: terasort gen":           {"validate"},
		`gen: "x" is no number of rows`: {"gen", "x", "out"},
	} {
		if out, errs, code := terasortCommand(t, args...); code != 2 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%q: exit code %d, %q, %q; want 2 and %q", args, code, out, errs, want)
		}
	}
	if _, errs, code := terasortCommand(t, "validate", filepath.Join(t.TempDir(), "none")); code == 0 || code == 7 || !strings.Contains(errs, "none") {
		t.Errorf("a folder that is not there: exit code %d, %q", code, errs)
	}
}
