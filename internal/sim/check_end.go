package sim

import (
	"slices"

	"github.com/divisi-data/divisi/proto/divisipb"
)

func (c *check) stuck() {
	for _, cl := range c.w.clients {
		if cl.job == "" {
			c.w.violate("the submit of %s is never answered", cl.def.name)
			continue
		}
		if j := c.w.coord.core.Job(cl.job); j != nil && !j.Over() {
			st := j.Status(true)
			c.w.violate("%s does not end: %s, %q, %+v, active %v", cl.job, st.State, st.Waiting, st.Stages, j.Active())
		}
	}
	c.w.violate("the world does not come to rest")
}

// atEnd looks at what is left, and whether the outputs are what they should be.
func (c *check) atEnd() {
	for _, cl := range c.w.clients {
		c.outcome(c.jobs[cl.job])
	}
	for _, k := range c.w.workers {
		if !k.up || !k.welcomed {
			continue
		}
		for id, j := range k.jobs {
			c.w.violate("%s still knows %s: host %v, %d outputs", k.id, id, j.host != nil, len(j.outputs))
		}
		if len(k.tasks)+len(k.queue)+k.busy > 0 {
			c.w.violate("%s still has %d tasks, %d waiting, %d slots in use", k.id, len(k.tasks), len(k.queue), k.busy)
		}
		if n := c.w.coord.core.Used(k.id); n != 0 {
			c.w.violate("the scheduler believes that %d slots of %s are used when all is over", n, k.id)
		}
	}
}

func (c *check) outcome(j *jobCheck) {
	if j == nil || j.state == 0 || !j.over {
		c.w.violate("a job is over and the journal does not say how: %+v", j)
		return
	}
	c.ends[j.state-divisipb.JobState_JOB_STATE_SUCCEEDED]++
	for s := range j.def.plan.Sinks {
		sink := int32(s)
		o := c.w.store.output(j.id, sink)
		for _, p := range o.parts {
			if !j.gaveUp && !(p.late && c.left[p.by]) {
				c.w.violate("%s is left in output %d by %s", p.of, s, p.by)
			}
		}
		if j.state != divisipb.JobState_JOB_STATE_SUCCEEDED {
			if len(o.visible) > 0 && !(j.begun && o.success) {
				c.w.violate("%s has ended as %s and parts of output %d are visible", j.id, j.state, s)
			}
			continue
		}
		var rows []uint64
		for _, p := range o.visible {
			rows = append(rows, p.rows...)
		}
		slices.Sort(rows)
		if !o.success || !slices.Equal(rows, j.def.want[s]) {
			c.w.violate("output %d of %s has %d rows, whole %v, and should have these %d: missing %v, too many %v", s, j.id,
				len(rows), o.success, len(j.def.want[s]), minus(j.def.want[s], rows), minus(rows, j.def.want[s]))
		}
	}
}

// minus is what a has more than b, both sorted.
func minus(a, b []uint64) []uint64 {
	var out []uint64
	for len(a) > 0 {
		switch {
		case len(b) == 0 || a[0] < b[0]:
			out = append(out, a[0])
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return out
}
