package sim

import (
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A client submits a job, again until it is answered, and may cancel it.
type client struct {
	w        *world
	def      *jobDef
	job      string // once answered
	cancelAt int64  // 0: never
	canceled bool   // answered
	tries    int
}

// call asks the coordinator that is there. Neither question nor answer is sure to arrive.
func (cl *client) call(ask func(c *coord, answer func(func()))) {
	c := cl.w.coord
	cl.w.after(cl.w.between(ms/10, 5*ms), func() {
		c.post(func() {
			ask(c, func(told func()) {
				if cl.w.chance(cl.w.weather.answersLost) {
					return
				}
				cl.w.after(cl.w.between(ms/10, 5*ms), func() {
					if c.up && c == cl.w.coord {
						told()
					}
				})
			})
		})
	})
}

func (cl *client) submit() {
	if cl.job != "" {
		return
	}
	cl.tries++
	cl.call(func(c *coord, answer func(func())) {
		_ = c.core.Submit(&divisipb.SubmitRequest{
			Job: &divisipb.JobSpec{Name: cl.def.name, Plan: cl.def.json}, IdempotencyKey: cl.def.name, Queue: cl.def.name,
		}, func(id string, existed bool) {
			if c == cl.w.coord {
				cl.w.check.submitAnswered(cl.def, id)
			}
			answer(func() { cl.told(id) })
		})
	})
	cl.w.after(cl.w.between(500*ms, 2*second), cl.submit)
}

func (cl *client) told(id string) {
	if cl.job != "" {
		return
	}
	cl.w.say("client: %s is %s", cl.def.name, id)
	cl.job = id
	if cl.cancelAt > 0 {
		cl.w.after(cl.cancelAt-cl.w.now, cl.cancel)
	}
}

func (cl *client) cancel() {
	if cl.canceled {
		return
	}
	cl.call(func(c *coord, answer func(func())) {
		_ = c.core.Cancel(cl.job, "by its user", func(st divisipb.JobState) {
			if c == cl.w.coord {
				cl.w.check.cancelAnswered(cl.job, st)
			}
			answer(func() { cl.canceled = true })
		})
	})
	cl.w.after(cl.w.between(500*ms, 2*second), cl.cancel)
}
