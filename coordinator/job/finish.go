package job

import (
	"slices"

	"github.com/divisi-data/divisi/internal/mutant"
)

// publish begins when all stages are done.
func (j *Job) publish() {
	if j.state != Publishing {
		if mutant.On("publishing is not journalled") {
			j.state = Publishing
		} else {
			j.record(PublishBegan{})
		}
	}
	for i, s := range j.sinks {
		if t := j.controlTask(Key{StagePublish, i}); !s.published && t.state == idle {
			j.want(t)
		}
	}
	j.publishedOne()
}

func (j *Job) publishedOne() {
	for _, s := range j.sinks {
		if !s.published && !mutant.On("success before it is published") {
			return
		}
	}
	j.record(Ended{State: Succeeded})
	if (j.resumed || len(j.strays) > 0) && !mutant.On("strays are not waited for") {
		j.stop() // they may still write
		return
	}
	j.clean()
}

func (j *Job) cancel(e Cancel) {
	// What is being published is past the point of return.
	if j.settled() {
		return
	}
	j.end(Canceled, e.Why, "")
}

// end is the end of a job that did not succeed; names are of the errors that it is.
func (j *Job) end(s State, why, stack string, names ...string) {
	j.record(Ended{State: s, Error: why, Stack: stack, Names: names})
	j.stop()
}

// stop kills the job's hosts, so that no attempt is alive when outputs are cleaned.
func (j *Job) stop() {
	j.phase = stopping
	quiet := func(t *task) {
		if t.state == wanted && !mutant.On("a cancelled job launches") {
			j.do(Unwant{Key: t.key})
		}
		j.unspare(t)
		if t.state == wanted || t.state == running {
			t.running = nil
			j.set(t, idle)
		}
	}
	for _, k := range j.keys {
		quiet(j.control[k])
	}
	for _, s := range j.stages {
		if s.wanted+s.running > 0 {
			for _, t := range s.tasks {
				quiet(t)
			}
		}
	}
	j.do(EndJob{HostsOnly: true})
}

func (j *Job) gone(e Gone) {
	switch {
	case j.phase == stopping:
		j.clean()
	case j.phase == ending && !e.HostsOnly:
		j.record(Cleaned{})
	}
}

// clean asks each sink that may have been written to to remove what is left.
func (j *Job) clean() {
	j.phase = cleaning
	for i, s := range j.sinks {
		if s.asked && !s.cleaned && mutant.On("clean is skipped") {
			j.record(SinkCleaned{Sink: i})
		} else if s.asked && !s.cleaned {
			j.want(j.controlTask(Key{StageClean, i}))
		}
	}
	j.cleanedOne()
}

func (j *Job) cleanedOne() {
	if slices.ContainsFunc(j.sinks, func(s *sink) bool { return s.asked && !s.cleaned }) {
		return
	}
	j.phase = ending
	j.do(EndJob{})
}

func (j *Job) giveUp(i int, why string) {
	t := j.controlTask(Key{StageClean, i})
	j.settle(t, Attempt{Number: -1}, "given up")
	j.set(t, done)
	j.record(SinkCleaned{Sink: i, GaveUp: why})
	j.cleanedOne()
}

func (j *Job) abandon(e Abandon) {
	switch j.phase {
	case stopping:
		j.clean()
	case cleaning:
		for i, s := range j.sinks {
			if j.phase == cleaning && s.asked && !s.cleaned {
				j.giveUp(i, e.Why)
			}
		}
	case ending:
		j.record(Cleaned{})
	}
}
