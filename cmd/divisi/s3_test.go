package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
)

// bucketFiles are the contents of the parts of an output in S3, in order of their names.
func bucketFiles(t *testing.T, uri string) (parts [][]byte) {
	t.Helper()
	fs, name, err := storage.Resolve(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	whole := false
	for info, err := range fs.List(t.Context(), name) {
		if err != nil {
			t.Fatal(err)
		}
		base := strings.TrimPrefix(info.Name, name+"/")
		if base == "_SUCCESS" {
			whole = true
			continue
		}
		if !strings.HasPrefix(base, "part-") {
			t.Errorf("%s is in the output", info.Name)
		}
		f, err := fs.Open(t.Context(), info.Name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, info.Size)
		if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		f.Close()
		parts = append(parts, b)
	}
	if !whole {
		t.Errorf("%s has no _SUCCESS", uri)
	}
	return parts
}

// TestS3ToS3: a word count and a TeraSort that read and write S3, on three workers. The
// whole outputs are right, and nothing else is left in the bucket.
func TestS3ToS3(t *testing.T) {
	s := services.S3(t)
	for _, v := range s.Environ() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	dir, bucket := t.TempDir(), "s3://"+s.Bucket
	sort := filepath.Join(dir, "terasort")
	build := exec.Command("go", "build", "-trimpath", "-o", sort, "../../examples/terasort")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(program string, args ...string) {
		t.Helper()
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
		}
	}
	divisi, cluster := filepath.Join(bin, "divisi"), filepath.Join(dir, "cluster")
	t.Cleanup(func() { downAll(dir) })
	run(divisi, "up", "--dir", cluster, "--workers", "3", "--slots", "1", "--detach")
	info, err := readCluster(cluster)
	if err != nil {
		t.Fatal(err)
	}

	text := filepath.Join(dir, "text")
	if err := chaos.Text(text, 7, 400_000, 3); err != nil {
		t.Fatal(err)
	}
	names, err := textFiles(text)
	if err != nil {
		t.Fatal(err)
	}
	fs, _, err := storage.Resolve(t.Context(), bucket+"/x")
	if err != nil {
		t.Fatal(err)
	}
	creator, _ := storage.As[storage.ConditionalCreator](fs)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := creator.CreateIfAbsent(t.Context(), "text/"+filepath.Base(name), b); err != nil {
			t.Fatal(err)
		}
	}
	want, err := countLines(names)
	if err != nil {
		t.Fatal(err)
	}
	run(filepath.Join(bin, "job"), "--cluster", info.Coordinator, "--partitions", "4", "--progress", "none", bucket+"/text", bucket+"/counts")
	var got []string
	for _, b := range bucketFiles(t, bucket+"/counts") {
		got = chaos.AppendLines(got, "", b)
	}
	slices.Sort(got)
	if d := chaos.Compare(got, want); d != "" {
		t.Errorf("the words: %s", d)
	}

	const rows, record, key = 250_000, 100, 10 // parts of more than one piece of an upload
	run(sort, "--cluster", info.Coordinator, "--progress", "none", "gen", "--parts", "5", fmt.Sprint(rows), bucket+"/records")
	run(sort, "--cluster", info.Coordinator, "--partitions", "2", "--progress", "none", "sort", bucket+"/records", bucket+"/sorted")
	made := slices.Collect(slices.Chunk(bytes.Join(bucketFiles(t, bucket+"/records"), nil), record))
	sorted := slices.Collect(slices.Chunk(bytes.Join(bucketFiles(t, bucket+"/sorted"), nil), record))
	if len(made) != rows {
		t.Errorf("%d records were made, not %d", len(made), rows)
	}
	for i := 1; i < len(sorted); i++ {
		if bytes.Compare(sorted[i-1][:key], sorted[i][:key]) > 0 {
			t.Fatalf("record %d is out of order", i)
		}
	}
	slices.SortFunc(made, bytes.Compare)
	slices.SortFunc(sorted, bytes.Compare)
	if !slices.EqualFunc(made, sorted, bytes.Equal) {
		t.Error("the sorted records are not those that were made")
	}

	keys, uploads := s.Left(t)
	for _, k := range keys {
		folder, _, _ := strings.Cut(k, "/")
		if !slices.Contains([]string{"text", "counts", "records", "sorted"}, folder) {
			t.Errorf("%s is left", k)
		}
	}
	if len(uploads) > 0 {
		t.Errorf("open uploads are left: %q", uploads)
	}
}
