package divisi_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

// TestRedactRecords: nothing that a record holds stands in an error or a log of a job that
// was submitted so, and all else that the error says still does. Without it the record
// is shown.
func TestRedactRecords(t *testing.T) {
	const canary = "4711canary"
	lines := func(f func(string) (string, error)) func(*df.Job) {
		return func(j *df.Job) {
			df.Write(df.MapErr(df.Read(j, df.Lines(j.Arg(0))), f), df.Text(j.Arg(1)))
		}
	}
	fails := func(s string) (string, error) {
		if strings.HasPrefix(s, "good") {
			return s, nil
		}
		_, err := strconv.Atoi(s)
		return s, err
	}
	panics := func(s string) (string, error) {
		if !strings.HasPrefix(s, "good") {
			panic(fmt.Sprintf("what is %q?", s))
		}
		return s, nil
	}
	skips := func(j *df.Job) {
		df.Write(df.Read(j, df.FromTSV[sale](j.Arg(0)).SkipBad(1)), df.TSV[sale](j.Arg(1)))
	}
	long := strings.Repeat("y", 1000)
	for _, c := range []struct {
		name string
		job  func(*df.Job)
		in   string
		is   error
		says []string // redacted or not
		only string   // redacted
	}{
		{"tsv", copyRows(df.FromTSV[sale]), "a\t1\nb\t" + canary + "\n", df.ErrMalformed, []string{":4", "column count"}, "[redacted] (12 bytes)"},
		{"tsv, long", copyRows(df.FromTSV[sale]), "a\t1\n" + canary + long + "\n", df.ErrMalformed, []string{":4", "1 columns, want 2", "1010 bytes)"}, "[redacted] (1010 bytes)"},
		{"csv", copyRows(df.FromCSV[sale]), "item,count\nb," + canary + "\n", df.ErrMalformed, []string{":11", "column count"}, "[redacted] (12 bytes)"},
		{"jsonl, a string", copyRows(df.FromJSONLines[sale]), `{"item":"b","count":"` + canary + `"}` + "\n", df.ErrMalformed, []string{":0", "column count"}, "[redacted] (33 bytes)"},
		{"jsonl, half", copyRows(df.FromJSONLines[sale]), `{"item":"` + canary + "\n", df.ErrMalformed, []string{":0", "no valid JSON"}, "[redacted] (19 bytes)"},
		{"jsonl, a number", copyRows(df.FromJSONLines[sale]), `{"item":"b","count":47114711471147114711e30}` + "\n", df.ErrMalformed, []string{":0", "column count"}, "[redacted] (44 bytes)"},
		{"too many to skip", skips, "a\tx\n" + canary + "\n", df.ErrMalformed, []string{"2 bad records", "skips 1"}, "[redacted] (10 bytes)"},
		{"a function's error", lines(fails), "good\n" + canary + "\n", nil, []string{":5", "strconv.Atoi"}, "record [redacted]"},
		{"a panic", lines(panics), "good\n" + canary + "\n", df.ErrPanic, []string{":5", "what is"}, "record [redacted]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := write(t, c.in)
			for _, redact := range []bool{false, true} {
				opts := []divisi.Option{divisi.Parallelism(1), divisi.TempDir(t.TempDir())}
				if redact {
					opts = append(opts, divisi.RedactRecords())
				}
				_, err := divisi.Run(t.Context(), c.job, []string{in, filepath.Join(t.TempDir(), "out")}, opts...)
				if err == nil || c.is != nil && !errors.Is(err, c.is) {
					t.Fatalf("redacted %v: %v", redact, err)
				}
				for _, s := range append(c.says, in) {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("redacted %v: it does not say %q: %v", redact, s, err)
					}
				}
				if got := strings.Contains(err.Error(), "4711"); got == redact {
					t.Errorf("redacted %v, and the record is shown %v: %v", redact, got, err)
				}
				if got := strings.Contains(err.Error(), c.only); got != redact {
					t.Errorf("redacted %v, and %q is said %v: %v", redact, c.only, got, err)
				}
			}
		})
	}
}

// TestRedactedLogs: what a policy leaves out is told in the attempts' logs, but not what it
// holds.
func TestRedactedLogs(t *testing.T) {
	in := write(t, "a\t1\n4711canary\nc\t3\n")
	for _, redact := range []bool{false, true} {
		tmp := t.TempDir()
		var logs strings.Builder
		opts := []divisi.Option{divisi.Parallelism(1), divisi.TempDir(tmp)}
		if redact {
			opts = append(opts, divisi.RedactRecords())
		}
		_, err := divisi.Run(t.Context(), func(j *df.Job) {
			rows := df.Read(j, df.FromTSV[sale](j.Arg(0)).SkipBad(1))
			// The log of the attempt that has just read the bad record.
			seen := df.Map(rows, func(s sale) sale {
				if s.Item == "c" {
					readLogs(t, tmp, &logs)
				}
				return s
			})
			df.Write(seen, df.TSV[sale](j.Arg(1)))
		}, []string{in, filepath.Join(t.TempDir(), "out")}, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(logs.String(), "skipped a bad record") || !strings.Contains(logs.String(), in+":4") {
			t.Errorf("redacted %v: the log is %q", redact, &logs)
		}
		if got := strings.Contains(logs.String(), "4711"); got == redact {
			t.Errorf("redacted %v: the log is %q", redact, &logs)
		}
	}
}

// readLogs adds all logs below a folder.
func readLogs(t *testing.T, dir string, to *strings.Builder) {
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "logs") {
			return nil
		}
		b, err := os.ReadFile(path)
		to.Write(b)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
