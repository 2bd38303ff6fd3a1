package sim

import (
	"slices"

	"github.com/divisi-data/divisi/internal/mutant"
)

// A store is a model of the storage that sinks write to, and of a sink over it: parts
// are sealed where nobody sees them, then made visible by a manifest that is made once
// (see connectors/files/publish.go).
type store struct {
	w       *world
	outputs map[outKey]*output
}

type outKey struct {
	job  string
	sink int32
}

type output struct {
	parts    []*part // in order of their beginning: open or sealed
	manifest []string
	decided  bool
	visible  []*part
	success  bool
	cleaned  bool
}

// A part is what an attempt writes.
type part struct {
	of     attempt
	by     string // incarnation
	sealed bool
	rows   []uint64
	late   bool // begun or sealed after the output was cleaned
}

func newStore(w *world) *store { return &store{w: w, outputs: map[outKey]*output{}} }

func (s *store) output(job string, sink int32) *output {
	k := outKey{job, sink}
	o := s.outputs[k]
	if o == nil {
		o = &output{}
		s.outputs[k] = o
	}
	return o
}

func (s *store) prepare(job string, sink int32) {
	s.output(job, sink)
	s.w.say("store: output %d of %s is prepared", sink, job)
}

func (s *store) find(a attempt) (*output, *part) {
	for sink := range int32(2) {
		if o := s.outputs[outKey{a.job, sink}]; o != nil {
			for _, p := range o.parts {
				if p.of == a {
					return o, p
				}
			}
		}
	}
	return nil, nil
}

// open begins a part.
func (s *store) open(a attempt, sink int32, by string) {
	o := s.output(a.job, sink)
	o.parts = append(o.parts, &part{of: a, by: by, late: o.cleaned})
}

// seal makes what was written durable.
func (s *store) seal(a attempt, sink int32, by string, rows []uint64) {
	_, p := s.find(a)
	if p == nil { // swept away under a writer that outlived its job
		o := s.output(a.job, sink)
		p = &part{of: a, by: by, late: true}
		o.parts = append(o.parts, p)
	}
	p.sealed, p.rows = true, rows
}

// abort throws away what an attempt wrote.
func (s *store) abort(a attempt) {
	if o, p := s.find(a); p != nil {
		o.parts = slices.DeleteFunc(o.parts, func(q *part) bool { return q == p })
	}
}

// publish does one step and says whether there are more.
func (s *store) publish(job string, sink int32, receipts [][]byte, step int) (more bool) {
	o := s.output(job, sink)
	if step == 0 {
		if !o.decided {
			o.decided = true
			o.manifest = nil
			for _, r := range receipts {
				o.manifest = append(o.manifest, string(r))
			}
			if mutant.On("published by listing") {
				o.manifest = nil
				for _, p := range o.parts {
					if p.sealed {
						o.manifest = append(o.manifest, p.of.String())
					}
				}
			}
			s.w.say("store: manifest of output %d of %s: %d parts", sink, job, len(o.manifest))
			s.w.check.decides(job, sink)
		}
		return true
	}
	if step <= len(o.manifest) {
		s.show(job, sink, o, o.manifest[step-1])
		return true
	}
	if !mutant.On("success is not marked") {
		o.success = true
	}
	s.w.say("store: output %d of %s is whole", sink, job)
	return false
}

// show makes a part visible, once.
func (s *store) show(job string, sink int32, o *output, name string) {
	for _, p := range o.visible {
		if p.of.String() == name {
			return
		}
	}
	for i, p := range o.parts {
		if p.of.String() == name {
			if !p.sealed {
				s.w.violate("part %s is published before it is sealed", name)
			}
			s.w.check.shows(sink, o, p)
			o.parts = slices.Delete(o.parts, i, i+1)
			o.visible = append(o.visible, p)
			return
		}
	}
	s.w.violate("part %s of output %d of %s is to be published and is gone", name, sink, job)
}

// clean removes what attempts left, after finishing what was decided.
func (s *store) clean(job string, sink int32) {
	o := s.output(job, sink)
	s.w.check.cleans(job, sink)
	if o.decided && !o.success {
		for _, name := range o.manifest {
			s.show(job, sink, o, name)
		}
		o.success = true
	}
	s.w.say("store: output %d of %s is cleaned of %d parts", sink, job, len(o.parts))
	o.parts, o.cleaned = nil, true
}
