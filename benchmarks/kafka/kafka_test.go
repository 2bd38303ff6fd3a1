package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/internal/services"
)

const (
	partitions  = 4
	recordBytes = 100
)

// TestRead reads a small topic both ways.
func TestRead(t *testing.T) {
	row := compare(t, 20_000, 1)
	for _, c := range row.Contenders {
		if !c.Checked {
			t.Errorf("%s: %s", c.Name, c.Error)
		}
	}
}

// BenchmarkRead reads a topic of a million records of 100 bytes with a job in one process
// and with Kafka's own kafka-consumer-perf-test, DIVISI_BENCH_RUNS times (5) in turn, and
// keeps the result in the folder DIVISI_BENCH_RESULTS. CPU time is that of all processes,
// the broker's too. "make bench ONLY=kafka" runs it.
func BenchmarkRead(b *testing.B) {
	runs := 5
	if n, err := strconv.Atoi(os.Getenv("DIVISI_BENCH_RUNS")); err == nil {
		runs = n
	}
	row := compare(b, 1_000_000, runs)
	for _, c := range row.Contenders {
		if !c.Checked {
			b.Fatalf("%s: %s", c.Name, c.Error)
		}
		b.ReportMetric(c.Median(), c.Name+"-s")
		b.ReportMetric(c.MedianCPU(), c.Name+"-cpu-s")
		for name, v := range c.Figures {
			b.Logf("%s: %s: %g", c.Name, name, v)
		}
	}
	if dir := os.Getenv("DIVISI_BENCH_RESULTS"); dir != "" {
		r := harness.Result{Name: "kafka", Machine: harness.ThisMachine(), Rows: []harness.Row{row}}
		if err := r.Save(dir); err != nil {
			b.Fatal(err)
		}
	}
}

// compare fills a topic and reads it with both contenders.
func compare(t testing.TB, records int64, runs int) harness.Row {
	t.Helper()
	k := services.Kafka(t, services.KafkaOptions{})
	ctx := t.Context()
	const topic = "records"
	if out, err := k.Tool(ctx, "topics", "", "--bootstrap-server", k.Bootstrap, "--create", "--topic", topic, "--partitions", strconv.Itoa(partitions)); err != nil {
		t.Fatal(err, out)
	}
	if out, err := k.Tool(ctx, "producer-perf-test", "", "--topic", topic, "--num-records", strconv.FormatInt(records, 10), "--record-size", strconv.Itoa(recordBytes),
		"--throughput", "-1", "--bootstrap-server", k.Bootstrap); err != nil {
		t.Fatal(err, out)
	}
	work := t.TempDir()
	job, err := harness.Binaries{Dir: work}.Build(ctx, "github.com/divisi-data/divisi/benchmarks/kafka")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--progress", "none", "-o", "json", "kafka://" + k.Bootstrap + "/" + topic}
	var summary, perf string
	groups := 0                  // a group that has read a topic goes on after that
	rate := map[string]float64{} // of the last run
	row := harness.Row{Work: "reading a topic", Bytes: records * recordBytes, Size: fmt.Sprintf("%d records of %d bytes in %d partitions", records, recordBytes, partitions), Items: records, Item: "record"}
	row = harness.Compare(ctx, row, runs, testLog{t},
		harness.Entry{
			Name: "divisi", Version: "this", Command: "kafka TOPIC OUT",
			Run: func(ctx context.Context) error {
				summary = filepath.Join(work, "summary.json")
				return harness.Command(ctx, summary, job, append(args, filepath.Join(work, "out"))...)
			},
			Check: func() error { return checkJob(summary, records) },
			After: func() error { return os.RemoveAll(filepath.Join(work, "out")) },
		},
		harness.Entry{
			Name: "kafka-consumer-perf-test", Version: k.Version(), Command: "kafka-consumer-perf-test --topic TOPIC --num-records N",
			Run: func(ctx context.Context) (err error) {
				groups++
				perf, err = k.Tool(ctx, "consumer-perf-test", "", "--bootstrap-server", k.Bootstrap, "--topic", topic,
					"--num-records", strconv.FormatInt(records, 10), "--group", fmt.Sprintf("perf-%d", groups), "--timeout", "60000")
				return err
			},
			Check: func() error { return checkPerf(perf, records, rate) },
		})
	row.Contenders[1].Figures = rate
	return row
}

// checkJob reads a job's summary: all records and all their bytes have to be in it.
func checkJob(file string, records int64) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var s struct{ Counters map[string]int64 }
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("the job's summary: %w: %q", err, text)
	}
	if n, size := s.Counters["records"], s.Counters["bytes"]; n != records || size != records*recordBytes {
		return fmt.Errorf("the job read %d records of %d bytes, want %d of %d", n, size, records, records*recordBytes)
	}
	return nil
}

// checkPerf reads what the tool prints: a line of names and one of numbers. Its own rate,
// which leaves its start out, is kept.
func checkPerf(out string, records int64, rate map[string]float64) error {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) < 2 {
		return fmt.Errorf("kafka-consumer-perf-test says %q", out)
	}
	names, values := strings.Split(lines[len(lines)-2], ", "), strings.Split(lines[len(lines)-1], ", ")
	got := map[string]float64{}
	for i, n := range names {
		if i < len(values) {
			got[strings.TrimSpace(n)], _ = strconv.ParseFloat(strings.TrimSpace(values[i]), 64)
		}
	}
	if got["data.consumed.in.nMsg"] < float64(records) {
		return fmt.Errorf("kafka-consumer-perf-test read %g records, want %d: %q", got["data.consumed.in.nMsg"], records, out)
	}
	rate["MB/s of fetching, by its own account"] = got["fetch.MB.sec"]
	return nil
}

// testLog writes to a test's log.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}
