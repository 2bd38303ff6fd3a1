package plan

import "github.com/divisi-data/divisi/dataflow"

// share marks the input of a join's stage whose rows may be shared out to several tasks:
// that of the left side, where the join and all that comes behind it deal with each of its
// rows by itself. What relies on rows with equal keys being in one task does not (a final
// aggregate, a window, a sort, a function with a state of its own), nor is a cache that is
// kept by partition shared out.
func share(s *Stage, t *tree, boundary *dataflow.Node) {
	if boundary != nil && boundary.Kind == dataflow.CacheNode && len(boundary.PartitionedBy) > 0 {
		return
	}
	for t.op != nil {
		for _, n := range t.path {
			if !n.Rowwise {
				return
			}
		}
		t = t.in[0]
	}
	if s.Inputs[t.input].Mode != ByPartition {
		return
	}
	for i, in := range s.Inputs {
		if i != t.input && in.Mode == ByPartition {
			s.Inputs[t.input].Shared = true
			return
		}
	}
}

// shareOnlyChosen takes it back where the author chose how many tasks write to a sink.
func (p *Plan) shareOnlyChosen() {
	for i := range p.Stages {
		s := &p.Stages[i]
		for k := range s.Inputs {
			if in := &s.Inputs[k]; in.Shared && s.Output.Sink >= 0 && p.Exchanges[in.Exchange].Fixed {
				in.Shared = false
			}
		}
	}
}
