package sim

import (
	"slices"
	"strings"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// queued looks at a record before it is durable: when it was decided.
func (c *check) queued(r *divisipb.JournalRecord) {
	if won := r.GetTaskWon(); won != nil {
		c.beaten(attemptOf(won.Result.Id))
	}
	if s := r.GetTaskSplit(); s != nil {
		c.beaten(attemptOf(s.Task))
	}
	if o := r.GetOutputLost(); o != nil {
		c.needless(attemptOf(o.Task), func(inc string) bool { return !c.departed[inc] && c.spoken[holder{inc, attemptOf(o.Task)}] })
	}
	l := r.GetWorkerLeft()
	if l == nil {
		return
	}
	c.departed[l.Incarnation] = true
	defer delete(c.streams, l.Incarnation)
	for _, k := range c.w.workers {
		cn := c.streams[l.Incarnation]
		if k.inc != l.Incarnation || !k.up || k.drain || c.stale[k.id] || cn == nil || !cn.atCoordinator {
			continue
		}
		if silence := drifted(c.w.now-c.contact[l.Incarnation], c.w.drift); silence < 5*second-2 { // by the coordinator's clock, which is rounded
			c.w.violate("worker %s was heard of %.3f s ago and is given up: %s", l.Incarnation, float64(silence)/1e9, l.Why)
		}
	}
}

// record looks at what has become durable.
func (c *check) record(r *divisipb.JournalRecord) {
	if l := r.GetWorkerLeft(); l != nil {
		c.left[l.Incarnation] = true
	}
	if s := r.GetSubmitted(); s != nil {
		c.submitted(r.Job, s.Request)
		return
	}
	j := c.jobs[r.Job]
	if j == nil {
		return
	}
	if j.over {
		c.w.violate("%s is over and the journal goes on: %s", r.Job, recordText(r))
	}
	switch b := r.Body.(type) {
	case *divisipb.JournalRecord_SplitsKnown:
		j.known[b.SplitsKnown.Source] = true
	case *divisipb.JournalRecord_SinkPrepared:
		j.prepared[b.SinkPrepared.Sink] = true
	case *divisipb.JournalRecord_StagePlanned:
		c.planned(j, b.StagePlanned)
	case *divisipb.JournalRecord_TaskWon:
		c.won(j, b.TaskWon)
	case *divisipb.JournalRecord_TaskFailed:
		c.failed(j, b.TaskFailed)
	case *divisipb.JournalRecord_OutputLost:
		c.lost(j, attemptOf(b.OutputLost.Task), b.OutputLost.Unreadable)
		c.w.provoked()
	case *divisipb.JournalRecord_TaskSlow:
		if b.TaskSlow.Copy {
			j.copied[attemptOf(b.TaskSlow.Task)] = true
			c.copies++
			c.w.rattled()
		}
	case *divisipb.JournalRecord_TaskSplit:
		c.split(j, attemptOf(b.TaskSplit.Task))
		c.w.provoked()
	case *divisipb.JournalRecord_OutputMoved:
		c.movedOutput(j, b.OutputMoved)
	case *divisipb.JournalRecord_AttemptsReserved:
		j.limit = b.AttemptsReserved.Limit
	case *divisipb.JournalRecord_PublishBegan:
		c.begun(j)
	case *divisipb.JournalRecord_SinkPublished:
		c.published(j, b.SinkPublished.Sink)
	case *divisipb.JournalRecord_JobEnded:
		c.ended(j, b.JobEnded)
		c.w.provoked()
	case *divisipb.JournalRecord_SinkCleaned:
		j.clean[b.SinkCleaned.Sink] = true
		j.gaveUp = j.gaveUp || b.SinkCleaned.GaveUp != ""
		if j.state == 0 {
			c.w.violate("%s is cleaned before its end", r.Job)
		}
	case *divisipb.JournalRecord_JobCleaned:
		j.over = true
	}
}

func (c *check) submitted(id string, r *divisipb.SubmitRequest) {
	def := c.defs[r.Job.Name]
	def.ids = append(def.ids, id)
	if len(def.ids) > 1 {
		c.w.violate("%s was submitted once and is %v", def.name, def.ids)
	}
	c.jobs[id] = &jobCheck{
		id: id, def: def, limit: 4096, known: map[int32]bool{}, prepared: map[int32]bool{}, tasks: map[int32]int{}, won: map[[2]int32]attempt{}, former: map[[2]int32]attempt{}, at: map[[2]int32]string{},
		winners: map[attempt]bool{}, failed: map[attempt]bool{}, launched: map[attempt]bool{}, counted: map[[2]int32]int{},
		sinks: map[int32]bool{}, clean: map[int32]bool{}, running: map[[2]int32]run{},
		copied: map[attempt]bool{}, whole: map[attempt]bool{}, hashes: map[[2]int32]uint64{}, floors: map[int32]int32{},
	}
}

// complete says that a stage is planned and all its tasks have won.
func (j *jobCheck) complete(stage int32) bool {
	n, planned := j.tasks[stage]
	for i := range int32(n) {
		if _, ok := j.won[[2]int32{stage, i}]; !ok {
			return false
		}
	}
	return planned
}

func (c *check) planned(j *jobCheck, p *divisipb.StagePlanned) {
	if _, twice := j.tasks[p.Stage]; twice || j.state != 0 {
		c.w.violate("stage %d of %s is planned twice, or after the end", p.Stage, j.id)
	}
	j.tasks[p.Stage] = len(p.Tasks)
	for _, t := range p.Tasks {
		c.shares += int(min(t.ShareOf, 1))
	}
	if j.def.plan.Stages[p.Stage].Output.Sink >= 0 {
		c.w.impatience()
	}
	for _, in := range j.def.plan.Stages[p.Stage].Inputs {
		if in.Mode == plan.BySplit {
			if !j.known[int32(in.Source)] {
				c.w.violate("stage %d of %s is planned before its splits are known", p.Stage, j.id)
			}
			continue
		}
		for _, s := range j.def.plan.Exchanges[in.Exchange].Producers {
			if s == j.def.noisy && c.w.chance(c.w.weather.malice) {
				c.w.after(c.w.between(0, second), func() { c.w.killWorker(false) })
			}
			if !j.complete(int32(s)) {
				c.w.violate("stage %d of %s is planned before stage %d is whole", p.Stage, j.id, s)
			}
		}
	}
}

func (c *check) won(j *jobCheck, r *divisipb.TaskWon) {
	a := attemptOf(r.Result.Id)
	k := [2]int32{a.stage, a.index}
	switch {
	case j.state != 0:
		c.w.violate("%s wins after the end of its job", a)
	case j.begun:
		c.w.violate("%s wins after publishing has begun", a)
	case j.winners[a]:
		c.w.violate("%s wins twice", a)
	case j.failed[a]:
		c.w.violate("%s has failed and wins", a)
	case !j.launched[a]:
		c.w.violate("%s wins and was never launched", a)
	case c.left[r.Incarnation]:
		c.w.violate("%s wins on %s, which was given up", a, r.Incarnation)
	}
	if a.number < j.floors[a.stage] {
		c.w.violate("%s wins, and has read rows that are no more", a)
	}
	if j.whole[a] {
		c.w.violate("%s wins, and has read what was given to another task", a)
	}
	if before, again := j.hashes[k]; again && before != r.Result.RowHash {
		c.changed(j, a)
		c.w.provoked()
	}
	j.hashes[k] = r.Result.RowHash
	if o, ok := j.won[k]; ok {
		c.w.violate("%s wins, and %s has won", a, o)
	}
	j.won[k] = a
	delete(j.former, k)
	j.at[k] = r.Incarnation
	j.winners[a] = true
}

// split: an attempt has given away a part of what its task was to read, and goes on.
func (c *check) split(j *jobCheck, a attempt) {
	c.splits++
	_, won := j.won[[2]int32{a.stage, a.index}]
	switch {
	case j.state != 0 || won:
		c.w.violate("%s is split after the end of its task", a)
	case j.failed[a] || j.winners[a] || !j.launched[a]:
		c.w.violate("%s is split and does not run", a)
	case j.whole[a]:
		c.w.violate("%s is split, and another has been before it", a)
	}
	for o := range j.launched {
		if o.stage == a.stage && o.index == a.index && o != a {
			j.whole[o] = true
		}
	}
	j.tasks[a.stage]++
}

// beaten looks for other attempts at a task that has been won.
func (c *check) beaten(a attempt) {
	for _, k := range c.w.workers {
		for _, t := range k.tasks {
			if o := t.id; o != a && o.job == a.job && o.stage == a.stage && o.index == a.index && !t.ended() {
				c.w.beaten(k)
			}
		}
	}
}

func (c *check) failed(j *jobCheck, r *divisipb.TaskFailed) {
	a := attemptOf(r.Failure.Id)
	k := [2]int32{a.stage, a.index}
	if j.failed[a] || j.winners[a] {
		c.w.violate("%s fails after its end", a)
	}
	j.failed[a] = true
	if r.Counted {
		j.counted[k]++
		most := 5 // of transient failures, or kills and running out of memory together with them
		if a.stage == job.StagePublish {
			most = 8
		}
		if j.counted[k] > most {
			c.w.violate("%s is failure %d that counts", a, j.counted[k])
		}
		switch kind := dataflow.Kind(r.Failure.ErrorKind); kind {
		case dataflow.InputLost, dataflow.WorkerLost, dataflow.Canceled:
			c.w.violate("%s failed by no fault of its own, %s, and it counts", a, kind)
		}
	}
	j.hopeless = j.hopeless || dataflow.Kind(r.Failure.ErrorKind) == dataflow.User
	j.stops(a)
	if j.state != 0 && a.stage != job.StageClean {
		c.w.violate("%s fails after the end of its job", a)
	}
}

// movedOutput: a winner's output is said to lie on another worker.
func (c *check) movedOutput(j *jobCheck, r *divisipb.OutputMoved) {
	a := attemptOf(r.Task)
	c.moves++
	k := [2]int32{a.stage, a.index}
	if _, again := j.won[k]; !again && j.former[k] == a { // lost, and there again before another has won
		c.founds++
		if a.number < j.floors[a.stage] {
			c.w.violate("the output of %s is there again, of rows that are no more", a)
		}
		if j.whole[a] {
			c.w.violate("the output of %s is there again, with what was given to another task", a)
		}
		j.won[k] = a
		delete(j.former, k)
		delete(j.running, k)
	}
	if j.won[k] != a {
		c.w.violate("the output of %s is moved, which is not the winner", a)
	}
	j.at[k] = r.Incarnation
	if c.left[r.Incarnation] {
		c.w.violate("the output of %s is moved to %s, which was given up", a, r.Incarnation)
	}
}

// changed: a second run of a task gave other rows. Nobody may have finished with the
// first ones, and who has begun with them must not finish.
func (c *check) changed(j *jobCheck, a attempt) {
	x := j.def.plan.Stages[a.stage].Output.Exchange
	if x < 0 {
		return
	}
	for _, s := range j.def.plan.Exchanges[x].Consumers {
		stage := int32(s)
		j.floors[stage] = a.number
		for i := range int32(j.tasks[stage]) {
			if o, ok := j.won[[2]int32{stage, i}]; ok {
				c.w.violate("%s wins with other rows than those that %s has read", a, o)
			}
		}
	}
}

// stops notes that an attempt does not run any more.
func (j *jobCheck) stops(a attempt) {
	if k := [2]int32{a.stage, a.index}; j.running[k].attempt == a {
		delete(j.running, k)
	}
}

// lost: a finished task runs again. There must be a reason: nobody who is there has its
// output, as far as the coordinator could know.
func (c *check) lost(j *jobCheck, a attempt, unreadable bool) {
	k := [2]int32{a.stage, a.index}
	if j.won[k] != a {
		c.w.violate("the output of %s is lost, which is not the winner", a)
	}
	at := j.at[k]
	delete(j.won, k)
	if j.former[k] = a; unreadable { // what is damaged is not found again
		delete(j.former, k)
	}
	if c.w.chance(2 * c.w.weather.malice) {
		j.def.lags = k
	}
	c.needless(a, func(inc string) bool { return !c.left[inc] && at == inc })
}

// needless: an attempt's task runs again though a worker that is there has its output, as
// the coordinator could know of its incarnation.
func (c *check) needless(a attempt, known func(inc string) bool) {
	if c.excused[a] {
		return
	}
	for _, w := range c.w.workers {
		if w.up && !w.drain && w.jobs[a.job] != nil && w.jobs[a.job].output(a) != nil && known(w.inc) {
			c.w.violate("%s runs again though its output is on %s", a, w.inc)
		}
	}
}

func (c *check) begun(j *jobCheck) {
	for i := range j.def.plan.Stages {
		if !j.complete(int32(i)) {
			c.w.violate("%s begins to publish and stage %d is not whole", j.id, i)
		}
	}
	if j.state != 0 {
		c.w.violate("%s begins to publish after its end", j.id)
	}
	j.begun = true
}

// winnersOf a sink, by their names.
func (j *jobCheck) winnersOf(sink int32) []string {
	var all []string
	for k, a := range j.won {
		if j.def.plan.Stages[k[0]].Output.Sink == int(sink) {
			all = append(all, a.String())
		}
	}
	slices.Sort(all)
	return all
}

func (c *check) visible(j *jobCheck, sink int32) []string {
	var all []string
	for _, p := range c.w.store.output(j.id, sink).visible {
		all = append(all, p.of.String())
	}
	slices.Sort(all)
	return all
}

func (c *check) published(j *jobCheck, sink int32) {
	j.sinks[sink] = true
	o := c.w.store.output(j.id, sink)
	if !j.begun || !o.success || !slices.Equal(c.visible(j, sink), j.winnersOf(sink)) {
		c.w.violate("output %d of %s is said to be published: visible %v, winners %v, whole %v", sink, j.id, c.visible(j, sink), j.winnersOf(sink), o.success)
	}
}

func (c *check) ended(j *jobCheck, r *divisipb.JobEnded) {
	if j.state != 0 {
		c.w.violate("%s has ended as %s and ends as %s", j.id, j.state, r.State)
	}
	j.state = r.State
	d := j.def
	switch r.State {
	case divisipb.JobState_JOB_STATE_SUCCEEDED:
		if len(j.sinks) != len(d.plan.Sinks) {
			c.w.violate("%s has succeeded, and %d of %d outputs are published", j.id, len(j.sinks), len(d.plan.Sinks))
		}
		if d.doomed[0] >= 0 && int(d.doomed[1]) < j.tasks[d.doomed[0]] || d.poison[0] >= 0 && int(d.poison[1]) < j.tasks[d.poison[0]] {
			c.w.violate("%s has succeeded in spite of a task that cannot", j.id)
		}
	case divisipb.JobState_JOB_STATE_FAILED:
		if d.doomed == none && d.poison == none && !(d.noisy >= 0 && strings.Contains(r.Error, "than the first")) {
			c.w.violate("%s fails for no fault of its own: %s", j.id, r.Error)
		}
	default:
		if j.begun {
			c.w.violate("%s is cancelled after publishing has begun", j.id)
		}
	}
}

func (c *check) stops(a attempt) {
	if j := c.jobs[a.job]; j != nil {
		j.stops(a)
	}
}
