package plan

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
)

func sortedArgs(keys []dataflow.SortKey) ([]byte, error) {
	return json.Marshal(struct {
		Keys []dataflow.SortKey `json:"keys"`
	}{keys})
}

// steps lists what runs in a stage, inputs first.
func steps(t *tree) []Step {
	var out []Step
	for _, in := range t.in {
		out = append(out, steps(in)...)
	}
	for _, n := range t.path {
		kind := string(n.Kind)
		if n.Ref.Kind != "" {
			kind = n.Ref.Kind
		}
		out = append(out, Step{Node: n.ID, Name: n.Name, Kind: kind, Site: n.Site, Schema: schemaText(n.Schema)})
	}
	return out
}

// stageName joins the names of what a stage does, without what moves rows.
func stageName(t *tree, boundary *dataflow.Node) string {
	var names []string
	for _, s := range steps(t) {
		switch s.Kind {
		case string(dataflow.ExchangeNode), string(dataflow.CacheNode):
			continue
		}
		if len(names) == 0 || names[len(names)-1] != s.Name {
			names = append(names, s.Name)
		}
	}
	if boundary != nil && boundary.Kind == dataflow.SinkNode {
		names = append(names, boundary.Name)
	}
	if len(names) == 0 {
		names = append(names, "move")
	}
	if len(names) > 6 {
		names = append(append(names[:3:3], "…"), names[len(names)-2:]...)
	}
	return strings.Join(names, "+")
}

// Text is the plan for people.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "job %s: %d stages, fingerprint %s\n", p.Job, len(p.Stages), p.Fingerprint)
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "\nstage %d  %s\n", s.ID, s.Name)
		for _, in := range s.Inputs {
			fmt.Fprintf(&b, "  reads   %s\n", p.inputText(in))
		}
		if s.MaxTasks > 0 {
			fmt.Fprintf(&b, "          at most %d tasks, evenly chosen\n", s.MaxTasks)
		}
		for _, st := range s.Chain {
			switch st.Kind {
			case string(dataflow.ExchangeNode), string(dataflow.CacheNode), string(dataflow.SourceNode):
				continue
			}
			fmt.Fprintf(&b, "  %-20s %-28s {%s}\n", st.Name, st.Site, st.Schema)
		}
		fmt.Fprintf(&b, "  writes  %s\n", p.outputText(s.Output))
	}
	return b.String()
}

func (p *Plan) inputText(in Input) string {
	switch in.Mode {
	case BySplit:
		return fmt.Sprintf("source %d: %s, a task per split", in.Source, p.Sources[in.Source].Name)
	case ByForward:
		return fmt.Sprintf("exchange %d, task by task", in.Exchange)
	case Whole:
		return fmt.Sprintf("exchange %d, whole in every task", in.Exchange)
	}
	x := p.Exchanges[in.Exchange]
	shared := ""
	if in.Shared {
		shared = ", a much larger one shared out"
	}
	if x.Fixed {
		return fmt.Sprintf("exchange %d, a task per partition (%d)%s", in.Exchange, x.Partitions, shared)
	}
	return fmt.Sprintf("exchange %d, neighbouring partitions (of %d) joined by size%s", in.Exchange, x.Partitions, shared)
}

func (p *Plan) outputText(o Output) string {
	if o.Sink >= 0 {
		return fmt.Sprintf("sink %d: %s", o.Sink, p.Sinks[o.Sink].Name)
	}
	x := p.Exchanges[o.Exchange]
	by := ""
	switch x.Kind {
	case dataflow.Hash, dataflow.Direct:
		by = fmt.Sprintf(" of columns %v", x.Columns)
	case dataflow.Range:
		by = fmt.Sprintf(" of %s, bounds from exchange %d", keysText(x.Keys), o.Sample)
	}
	return fmt.Sprintf("exchange %d: %s%s, %d partitions", o.Exchange, x.Kind, by, x.Partitions)
}

func keysText(keys []dataflow.SortKey) string {
	var s []string
	for _, k := range keys {
		t := fmt.Sprint(k.Column)
		if k.Descending {
			t += " descending"
		}
		s = append(s, t)
	}
	return strings.Join(s, ", ")
}

// DOT is the plan as a Graphviz graph: stages as boxes, exchanges as arrows.
func (p *Plan) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  rankdir=LR;\n  node [shape=box];\n", p.Job)
	for _, s := range p.Sources {
		fmt.Fprintf(&b, "  source%d [shape=cylinder, label=%q];\n", s.ID, s.Name)
	}
	for _, s := range p.Sinks {
		fmt.Fprintf(&b, "  sink%d [shape=cylinder, label=%q];\n", s.ID, s.Name)
	}
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "  stage%d [label=%q];\n", s.ID, fmt.Sprintf("%d: %s", s.ID, s.Name))
		for _, in := range s.Inputs {
			if in.Mode == BySplit {
				fmt.Fprintf(&b, "  source%d -> stage%d;\n", in.Source, s.ID)
				continue
			}
			x := p.Exchanges[in.Exchange]
			for _, from := range x.Producers {
				fmt.Fprintf(&b, "  stage%d -> stage%d [label=%q];\n", from, s.ID, fmt.Sprintf("%s %d", x.Kind, x.Partitions))
			}
		}
		if s.Output.Sink >= 0 {
			fmt.Fprintf(&b, "  stage%d -> sink%d;\n", s.ID, s.Output.Sink)
		}
	}
	b.WriteString("}\n")
	return b.String()
}
