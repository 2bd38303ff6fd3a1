package divisi_test

import (
	"path/filepath"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

type hidden struct {
	Name string `df:"name"`
	word string
}

type doubled struct {
	A string `df:"a"`
	B string `df:"a"`
}

// TestBadJobs: jobs that cannot be built, or whose functions fail.
func TestBadJobs(t *testing.T) {
	in := write(t, "a\t1\nb\ttwo\n")
	lines := func(j *df.Job) df.Dataset[string] { return df.Read(j, df.Lines(j.Arg(0))) }
	here := "badjobs_test.go:"
	_ = hidden{word: ""}
	runBad(t, []badRow{
		{in: in, name: "nothing is written", job: func(j *df.Job) { lines(j); j.Arg(1) }, is: divisi.ErrUsage, says: []string{"writes nothing"}},
		{in: in, name: "an argument is missing", job: func(j *df.Job) { df.Write(lines(j), df.Text(j.Arg(2))) }, is: divisi.ErrUsage, says: []string{here, "argument 3 is missing"}},
		{in: in, name: "no input path", job: func(j *df.Job) { j.Args(); df.Write(df.Read(j, df.Lines()), df.Text(j.Arg(1))) }, is: divisi.ErrUsage, says: []string{here, "no path"}},
		{in: in, name: "no output path", job: func(j *df.Job) { df.Write(lines(j), df.Text("")) }, is: divisi.ErrUsage, says: []string{here, "no path"}},
		{in: in, name: "building panics", job: func(j *df.Job) { panic("oh") }, is: divisi.ErrUsage, says: []string{"building it panicked: oh", here}},
		{in: in, name: "a channel as a column", job: func(j *df.Job) {
			df.Write(df.Map(lines(j), func(string) chan int { return nil }), df.JSONLines[chan int](j.Arg(1)))
		}, is: divisi.ErrUsage, says: []string{here, "chan int"}},
		{in: in, name: "an unexported field", job: func(j *df.Job) {
			df.Write(df.Map(lines(j), func(string) hidden { return hidden{} }), df.JSONLines[hidden](j.Arg(1)))
		}, is: divisi.ErrUsage, says: []string{here, "word"}},
		{in: in, name: "two fields of one name", job: func(j *df.Job) {
			df.Write(df.Map(lines(j), func(string) doubled { return doubled{} }), df.JSONLines[doubled](j.Arg(1)))
		}, is: divisi.ErrUsage, says: []string{here, `"a"`}},
		{in: in, name: "a pointer as a key", job: func(j *df.Job) {
			df.Write(df.Count(df.Map(lines(j), func(s string) *string { return &s })), df.JSONLines[df.Pair[*string, int64]](j.Arg(1)))
		}, is: divisi.ErrUsage, says: []string{here, "*string cannot be a key"}},
		{in: in, name: "an unknown compression", job: func(j *df.Job) { df.Write(lines(j), df.Text(j.Arg(1)).Option("compression", "rar")) }, is: divisi.ErrUsage, says: []string{`"rar"`, "gzip"}},
		{in: in, name: "an unknown option", job: func(j *df.Job) {
			df.Write(df.Read(j, df.FromCSV[sale](j.Arg(0)).Option("delimeter", ";")), df.CSV[sale](j.Arg(1)))
		}, is: divisi.ErrUsage, says: []string{"delimeter"}},
		{in: in, name: "an unknown kind of source", job: func(j *df.Job) {
			df.Write(df.Read(j, df.CustomSource[string]("gopher", nil)), df.Text(j.Arg(1)))
		}, is: divisi.ErrUsage, says: []string{`"gopher"`, "files, kafka"}},
		{in: in, name: "a record limit below zero", job: func(j *df.Job) {
			df.Write(df.Read(j, df.Lines(j.Arg(0)).MaxRecordBytes(-1)), df.Text(j.Arg(1)))
		}, is: divisi.ErrUsage, says: []string{"max_record_bytes is -1"}},
		{in: in, name: "a shipped file in a folder", job: func(j *df.Job) { j.File("a/b", in); df.Write(lines(j), df.Text(j.Arg(1))) }, is: divisi.ErrUsage, says: []string{here, `"a/b"`}},
		{in: in, name: "a topic as Parquet", job: func(j *df.Job) {
			df.Write(df.Read(j, df.FromTSV[sale](j.Arg(0))), df.Parquet[sale]("kafka://localhost/topic"))
		}, is: divisi.ErrUsage, says: []string{here, "Text, TSV or JSONLines"}},
		{in: in, name: "a function panics", job: func(j *df.Job) {
			df.Write(df.Map(lines(j), func(s string) string {
				if strings.HasSuffix(s, "two") {
					panic("no such number")
				}
				return s
			}), df.Text(j.Arg(1)))
		}, is: df.ErrPanic, says: []string{"no such number", in + ":4", `"b\ttwo"`, here}},
		{in: in, name: "a column of the wrong type", job: func(j *df.Job) {
			df.Write(df.Read(j, df.FromAvro[sale](j.Arg(0))), df.Avro[sale](j.Arg(1)))
		}, is: df.ErrMalformed, says: []string{in}},
	})
	gone := filepath.Join(t.TempDir(), "gone")
	runBad(t, []badRow{{in: in, name: "a shipped file is missing", job: func(j *df.Job) { j.File("words", gone); copyLines(j) }, is: divisi.ErrUsage, says: []string{gone}}})
}
