package console

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

var rewriteGolden = flag.Bool("golden", false, "write the golden analysis anew")

// analyzedJob is a join of a stage that is done and one that has not begun, then an
// aggregate: everything that a line can say is in it.
func analyzedJob() (*plan.Plan, *pb.JobStatus) {
	p := &plan.Plan{
		Job: "report", Sources: []plan.Source{{Name: "files"}}, Sinks: []plan.Sink{{Kind: "files", Name: "files"}},
		Exchanges: []plan.Exchange{
			{ID: 0, Exchange: dataflow.Exchange{Kind: dataflow.Hash, Partitions: 7}, Producers: []int{0}, Consumers: []int{1}},
			{ID: 1, Exchange: dataflow.Exchange{Kind: dataflow.Broadcast, Partitions: 1}, Consumers: []int{1}},
		},
		Stages: []plan.Stage{
			{ID: 0, Name: "Read parquet+Where", Inputs: []plan.Input{{Mode: plan.BySplit, Exchange: -1}}, Output: plan.Output{Exchange: 0, Sink: -1}, Ops: []plan.Op{
				{ID: 0, Name: "Read parquet", Kind: "files", Input: 0, Estimate: 12_345_678},
				{ID: 1, Name: "Where", Kind: "select", In: []int{0}, Input: -1, Estimate: 4_115_226, Site: "main.go:12"},
			}},
			{
				ID: 1, Name: "Join+Agg of what has a rather long name that nobody wants to read to its end, not even in a plan+Write csv",
				Inputs: []plan.Input{{Mode: plan.ByPartition, Source: -1, Exchange: 0}, {Mode: plan.Whole, Source: -1, Exchange: 1}},
				Output: plan.Output{Exchange: -1, Sink: 0}, Ops: []plan.Op{
					{ID: 0, Name: "Join (left)", Kind: "exchange", Input: 0, Estimate: 4_115_226},
					{ID: 1, Name: "Join (right, to all)", Kind: "exchange", Input: 1, Estimate: 3e12},
					{ID: 2, Name: "Join", Kind: "hashjoin", In: []int{0, 1}, Input: -1, Estimate: 3e12},
					{ID: 3, Name: "Agg of what has a rather long name", Kind: "aggregate", In: []int{2}, Input: -1},
				},
			},
			{ID: 2, Name: "Later", Output: plan.Output{Exchange: -1, Sink: 0}, Ops: []plan.Op{{ID: 0, Name: "none", Input: -1}}},
		},
	}
	return p, &pb.JobStatus{
		Id: "report-abc", Name: "report", State: pb.JobState_JOB_STATE_RUNNING,
		Stages: []*pb.StageStatus{
			{
				State: "done", Tasks: 8, Done: 8, Stats: &pb.TaskStats{RowsOut: 4_000_001, BytesShuffled: 70_000_000, WallNanos: 5e9, BytesSpilled: 1 << 20, PeakMemoryBytes: 9 << 20},
				Ops: []*pb.OpStats{{Rows: 12_000_000, Bytes: 400_000_000, Nanos: 3e9}, {Rows: 4_000_001, Bytes: 90_000_000, Nanos: 4e9, PeakMemoryBytes: 1000}},
			},
			{
				Id: 1, State: "running", Tasks: 7, Done: 3, Stats: &pb.TaskStats{RowsOut: 31, BytesOut: 512, WallNanos: 3700e9, BytesSpilled: 6_000_000_000, PeakMemoryBytes: 1 << 30},
				Ops: []*pb.OpStats{
					{Rows: 3_000_000, Bytes: 60_000_000, Nanos: 1e9}, {Rows: 100_000_000_000, Bytes: 8_000_000_000_000, Nanos: 2e9},
					{Rows: 2_500_000, Bytes: 61_000_000, Nanos: 3600e9, BytesSpilled: 6_000_000_000, PeakMemoryBytes: 900 << 20}, {Rows: 31, Bytes: 600, Nanos: 3601e9, PeakMemoryBytes: 4096},
				},
			},
			{Id: 2, State: "waiting"},
		},
	}
}

// The shape of the text, to be read by people in 100 columns.
func TestAnalysisText(t *testing.T) {
	const golden = "testdata/analysis.txt"
	var b strings.Builder
	if err := Analyze(analyzedJob()).Print(&b, false); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	if *rewriteGolden {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// Time is an operator's own; what an output spills and takes is what operators do not.
func TestAnalysisOwnShares(t *testing.T) {
	a := Analyze(analyzedJob())
	join := a.Stages[1].Operators[2]
	if join.Seconds != 3597 || join.BytesSpilled != 6_000_000_000 {
		t.Errorf("the join took %v s and spilled %d", join.Seconds, join.BytesSpilled)
	}
	if out := a.Stages[1].Output; out.Seconds != 99 || out.BytesSpilled != 0 || out.Bytes != 512 {
		t.Errorf("the sink: %+v", out)
	}
	if out := a.Stages[0].Output; out.BytesSpilled != 1<<20 || out.Bytes != 70_000_000 {
		t.Errorf("the exchange: %+v", out)
	}
}

// A status of a coordinator that knows nothing of operators is fine.
func TestAnalysisWithoutCounts(t *testing.T) {
	p, s := analyzedJob()
	s.Stages = s.Stages[:1]
	s.Stages[0].Ops = nil
	var b strings.Builder
	if err := Analyze(p, s).Print(&b, true); err != nil {
		t.Fatal(err)
	}
	var got Analysis
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || len(got.Stages) != 3 || got.Stages[0].Operators[1].Rows != 0 || got.SchemaVersion != 1 {
		t.Errorf("%v: %+v", err, got)
	}
}
