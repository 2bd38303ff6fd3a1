package divisi_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

// TestContainers counts words by way of SequenceFiles, then of Avro, which change
// nothing.
func TestContainers(t *testing.T) {
	dir := t.TempDir()
	in := writeText(t, filepath.Join(dir, "in.txt"), text(20_000))
	at := func(name string) string { return filepath.Join(dir, name) }
	type pair = df.Pair[string, int64]
	run := func(build func(j *df.Job)) {
		t.Helper()
		if _, err := divisi.Run(t.Context(), build, nil, divisi.Parallelism(2), divisi.Partitions(3), divisi.TempDir(t.TempDir())); err != nil {
			t.Fatal(err)
		}
	}
	run(func(j *df.Job) {
		df.Write(df.Count(df.Words(df.Read(j, df.Lines(in)))), df.SequenceFile[string, int64](at("seq")).Compress(df.Snappy))
	})
	run(func(j *df.Job) {
		df.Write(df.Read(j, df.FromSequenceFile[string, int64](at("seq"))), df.Avro[pair](at("avro")))
	})
	run(func(j *df.Job) {
		df.Write(df.Read(j, df.FromAvro[pair](at("avro"))), df.TSV[pair](at("out")).Compress(df.Bzip2))
	})
	run(func(j *df.Job) {
		df.Write(df.Read(j, df.FromTSV[pair](at("out"))), df.TSV[pair](at("plain")))
	})
	parts, err := filepath.Glob(at("plain/part-*"))
	if err != nil || len(parts) == 0 {
		t.Fatal(parts, err)
	}
	var got, want []string
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		got = slices.AppendSeq(got, strings.Lines(string(b)))
	}
	for w, n := range counts(text(20_000)) {
		want = append(want, w+"\t"+n+"\n")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d words come back, want %d", len(got), len(want))
	}
}
