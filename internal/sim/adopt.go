package sim

import "github.com/divisi-data/divisi/proto/divisipb"

// adopt copies outputs of a worker that leaves, as far as they can be had.
func (k *worker) adopt(m *divisipb.AdoptBlocks) {
	j := k.jobs[m.Job]
	k.after(k.w.between(ms, 80*ms), func() {
		answer := &divisipb.BlocksAdopted{Job: m.Job}
		for _, t := range m.Tasks {
			if j != nil && k.jobs[m.Job] == j && k.copyOutput(j, m.Worker, attemptOf(t)) {
				answer.Tasks = append(answer.Tasks, t)
			} else {
				answer.Failed = append(answer.Failed, t)
			}
		}
		k.w.say("%s: adopts %d outputs of %s, not %d", k.id, len(answer.Tasks), m.Worker, len(answer.Failed))
		k.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_BlocksAdopted{BlocksAdopted: answer}})
	})
}

func (k *worker) copyOutput(j *wjob, from string, a attempt) bool {
	if j.output(a) != nil {
		return true
	}
	for _, o := range k.w.workers {
		if o.id != from || !o.up || o.paused || k.apart[o] || o.jobs[j.id] == nil {
			continue
		}
		if b := o.jobs[j.id].output(a); b != nil {
			made := *b
			j.outputs = append(j.outputs, &made)
			return true
		}
	}
	return false
}

// progress makes half of what runs look slow, so that it gets copies.
func (k *worker) progress() []*divisipb.TaskProgress {
	var all []*divisipb.TaskProgress
	for _, t := range k.tasks {
		if t.host != nil && !t.ended() && !t.control() && t.id.number%2 == 0 {
			all = append(all, &divisipb.TaskProgress{Id: t.spec.Id, Fraction: 0.01, ElapsedNanos: 60 * second, RowsIn: k.w.now})
		}
	}
	return all
}
