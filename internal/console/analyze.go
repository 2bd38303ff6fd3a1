package console

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// An Analysis is a job's plan and what its operators did, as programs print it. The
// fields are a contract with scripts.
type Analysis struct {
	SchemaVersion int             `json:"schema_version"`
	Job           string          `json:"job"` // id
	Name          string          `json:"name"`
	State         string          `json:"state"`
	Seconds       float64         `json:"seconds"`
	Stages        []AnalyzedStage `json:"stages"` // producers before consumers
}

// An AnalyzedStage is one stage of an Analysis.
type AnalyzedStage struct {
	ID        int          `json:"id"`
	Name      string       `json:"name"`
	State     string       `json:"state"` // waiting, running, done
	Tasks     int32        `json:"tasks"` // 0: not known yet
	Done      int32        `json:"done"`
	Operators []AnalyzedOp `json:"operators"` // inputs before what reads them
	Output    AnalyzedOp   `json:"output"`
}

// An AnalyzedOp is one operator of a stage, or its output. Sums are over the attempts
// that won.
type AnalyzedOp struct {
	ID            int     `json:"id"` // of the output -1
	Name          string  `json:"name"`
	Kind          string  `json:"kind"`
	Site          string  `json:"site,omitempty"`
	Inputs        []int   `json:"inputs"`                   // operators
	EstimatedRows float64 `json:"estimated_rows,omitempty"` // absent: nobody knew
	Rows          int64   `json:"rows"`
	Bytes         int64   `json:"bytes"`             // in memory; of the output as it was written
	Seconds       float64 `json:"seconds"`           // by itself, summed over tasks
	BytesSpilled  int64   `json:"bytes_spilled"`     // by itself
	PeakMemory    int64   `json:"peak_memory_bytes"` // reserved, in one task at most; of the output: by the whole task
}

// Analyze puts a job's plan and its status, with stages, together.
func Analyze(p *plan.Plan, s *pb.JobStatus) Analysis {
	a := Analysis{SchemaVersion: 1, Job: s.Id, Name: s.Name, State: State(s.State), Seconds: Seconds(s)}
	for i, st := range p.Stages {
		done := &pb.StageStatus{}
		if i < len(s.Stages) {
			done = s.Stages[i]
		}
		a.Stages = append(a.Stages, analyzeStage(p, st, done))
	}
	return a
}

func analyzeStage(p *plan.Plan, st plan.Stage, s *pb.StageStatus) AnalyzedStage {
	out := AnalyzedStage{ID: st.ID, Name: st.Name, State: s.State, Tasks: s.Tasks, Done: s.Done, Operators: []AnalyzedOp{}}
	stats := func(i int) *pb.OpStats {
		if i < len(s.Ops) {
			return s.Ops[i]
		}
		return &pb.OpStats{}
	}
	var spilled, inside int64
	for _, o := range st.Ops {
		done := stats(o.ID)
		own := done.GetNanos()
		for _, in := range o.In {
			own -= stats(in).GetNanos()
		}
		spilled, inside = spilled+done.GetBytesSpilled(), done.GetNanos()
		op := AnalyzedOp{
			ID: o.ID, Name: o.Name, Kind: o.Kind, Site: o.Site, Inputs: append([]int{}, o.In...), EstimatedRows: o.Estimate,
			Rows: done.GetRows(), Bytes: done.GetBytes(), Seconds: seconds(own), BytesSpilled: done.GetBytesSpilled(), PeakMemory: done.GetPeakMemoryBytes(),
		}
		if o.Input >= 0 {
			op.Name = inputName(p, st.Inputs[o.Input], o.Name)
		}
		out.Operators = append(out.Operators, op)
	}
	all := s.GetStats()
	out.Output = AnalyzedOp{
		ID: -1, Kind: "exchange", Inputs: []int{}, Rows: all.GetRowsOut(), Bytes: all.GetBytesOut() + all.GetBytesShuffled(),
		Seconds: seconds(all.GetWallNanos() - inside), BytesSpilled: max(0, all.GetBytesSpilled()-spilled), PeakMemory: all.GetPeakMemoryBytes(),
	}
	if n := len(st.Ops); n > 0 {
		out.Output.Inputs, out.Output.EstimatedRows = []int{n - 1}, st.Ops[n-1].Estimate
	}
	if k := st.Output.Sink; k >= 0 {
		out.Output.Name, out.Output.Kind = "to "+p.Sinks[k].Name, p.Sinks[k].Kind
	} else {
		x := p.Exchanges[st.Output.Exchange]
		out.Output.Name = fmt.Sprintf("to exchange %d (%s)", x.ID, x.Kind)
	}
	return out
}

func inputName(p *plan.Plan, in plan.Input, name string) string {
	if in.Mode == plan.BySplit {
		return name + ": " + p.Sources[in.Source].Name
	}
	return fmt.Sprintf("from exchange %d (%s)", in.Exchange, p.Exchanges[in.Exchange].Kind)
}

func seconds(nanos int64) float64 {
	return time.Duration(max(0, nanos)).Round(time.Microsecond).Seconds()
}

// Print writes the analysis as text of at most 100 columns, or as one JSON object.
func (a Analysis) Print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(a)
	}
	var b strings.Builder
	took := ""
	if a.Seconds > 0 {
		took = " in " + Duration(time.Duration(a.Seconds*float64(time.Second)))
	}
	fmt.Fprintf(&b, "%s\n", fit(fmt.Sprintf("job %s %s: %s%s, %d stages", a.Job, a.Name, a.State, took, len(a.Stages)), analyzeWidth))
	analyzedLine(&b, "", "est. rows", "rows", "bytes", "time", "spilled", "memory")
	for _, s := range a.Stages {
		s.print(&b)
	}
	b.WriteString("\nRows and bytes came out of the operator (bytes in memory, of outputs as written), in attempts\n" +
		"that won. Time is the operator's own, over all tasks. Memory is what one task reserved at most.\n")
	_, err := io.WriteString(w, Plain(b.String()))
	return err
}

const (
	analyzeWidth = 100
	nameWidth    = 36
)

func (s AnalyzedStage) print(b *strings.Builder) {
	tasks := fmt.Sprintf("%d of %d tasks", s.Done, s.Tasks)
	switch {
	case s.Tasks == 0:
		tasks = "not divided into tasks yet"
		if s.State == "done" {
			tasks = "no tasks"
		}
	case s.Done == 1 && s.Tasks == 1:
		tasks = "1 task"
	case s.Done == s.Tasks:
		tasks = fmt.Sprintf("%d tasks", s.Tasks)
	}
	tasks = ", " + tasks
	head := fmt.Sprintf("stage %d  %s", s.ID, s.Name)
	fmt.Fprintf(b, "\n%s%s\n", fit(head, analyzeWidth-len(tasks)), tasks)
	s.Output.print(b, 1, s.Done > 0)
	var tree func(id, depth int)
	tree = func(id, depth int) {
		s.Operators[id].print(b, depth, s.Done > 0)
		for _, in := range s.Operators[id].Inputs {
			tree(in, depth+1)
		}
	}
	if n := len(s.Operators); n > 0 {
		tree(n-1, 2)
	}
}

func (o AnalyzedOp) print(b *strings.Builder, depth int, ran bool) {
	name := strings.Repeat("  ", min(depth, 8)) + o.Name
	estimate, rows, bytes, took := "-", "-", "-", "-"
	if o.EstimatedRows > 0 {
		estimate = rounded(o.EstimatedRows)
	}
	if ran {
		rows, bytes, took = short(o.Rows), Bytes(o.Bytes), Duration(time.Duration(o.Seconds*float64(time.Second)))
	}
	analyzedLine(b, name, estimate, rows, bytes, took, some(o.BytesSpilled), some(o.PeakMemory))
}

func analyzedLine(b *strings.Builder, name, estimate, rows, bytes, took, spilled, memory string) {
	name = fit(name, nameWidth)
	name += strings.Repeat(" ", nameWidth-utf8.RuneCountInString(name))
	fmt.Fprintf(b, "%s %11s %13s %8s %9s %8s %8s\n", name, estimate, rows, bytes, took, spilled, memory)
}

// some is a number of bytes, or a dash for none.
func some(n int64) string {
	if n == 0 {
		return "-"
	}
	return Bytes(n)
}

// short is Count, or where that is long a power of ten.
func short(n int64) string {
	if n >= 1e10 {
		return fmt.Sprintf("%.3e", float64(n))
	}
	return Count(n)
}

// rounded is a guess, with the digits that it deserves.
func rounded(f float64) string {
	if f >= 1e9 {
		return fmt.Sprintf("%.0e", f)
	}
	unit := 1.0
	for f/unit >= 100 {
		unit *= 10
	}
	return Count(int64(f/unit+0.5) * int64(unit))
}

// fit cuts a text that is longer than so many characters.
func fit(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
