// Package chaos does bad things to a cluster of real processes while it works, by a
// schedule that comes from a seed: it kills and stops processes, spoils connections,
// deletes and damages shuffle files, fills disks. What a job writes must be what it
// writes in peace, and nothing may be left over.
package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Trial is one job under one schedule.
type Trial struct {
	Cluster *Cluster
	Faults  []Fault
	Job     func(ctx context.Context) error // runs it to its end
	Output  string                          // its folder
	Want    []string                        // its lines, sorted
	Check   func() string                   // instead of Want: what is wrong with it, "": nothing
	Limit   time.Duration                   // for the job; it guards, it does not measure
}

// A Report of a trial.
type Report struct {
	Strikes []Strike
	Took    time.Duration
	Wrong   []string // nothing: it went as it should
}

// cleanWithin is how long after the end of a job something of it may be seen yet: what
// died in the very end is started again, and clears up, after that.
const cleanWithin = 60 * time.Second

// victimEvery is how often a victim is looked for that is not there yet: a task host
// before the first task, a shuffle file.
const victimEvery = 10 * time.Millisecond

// Run runs a trial.
func (t Trial) Run(ctx context.Context) (*Report, error) {
	r := &Report{}
	ctx, cancel := context.WithTimeout(ctx, t.Limit)
	defer cancel()
	began := time.Now()
	struck := make(chan error, 1)
	over := make(chan struct{})
	go func() { struck <- t.strikeAll(began, over, r) }()
	err := t.Job(ctx)
	r.Took = time.Since(began)
	close(over)
	if serr := <-struck; serr != nil {
		return nil, serr
	}
	if nerr := t.Cluster.notice(r.Strikes); nerr != nil {
		return nil, nerr
	}
	if err != nil {
		r.Wrong = append(r.Wrong, fmt.Sprintf("the job failed: %v", err))
	} else if t.Check != nil {
		if w := t.Check(); w != "" {
			r.Wrong = append(r.Wrong, "its output: "+w)
		}
	} else if lines, err := Lines(t.Output); err != nil {
		r.Wrong = append(r.Wrong, fmt.Sprintf("its output: %v", err))
	} else if d := Compare(lines, t.Want); d != "" {
		r.Wrong = append(r.Wrong, "its output: "+d)
	}
	left, err := t.settled(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	if len(left) > 0 {
		r.Wrong = append(r.Wrong, "left over: "+strings.Join(left, ", "))
	}
	return r, nil
}

// strikeAll does the faults when their time has come, and undoes them, until the job
// is over; then it undoes the rest at once.
func (t Trial) strikeAll(began time.Time, over <-chan struct{}, r *Report) error {
	type undo struct {
		at time.Time
		do func()
	}
	var undos []undo
	defer func() {
		for _, u := range undos {
			u.do()
		}
	}()
	next := 0
	var again time.Time // when the next fault is tried again, having had no victim
	for {
		var due time.Time
		first := -1 // of undos; -1: a fault
		if next < len(t.Faults) {
			if due = began.Add(t.Faults[next].At); due.Before(again) {
				due = again
			}
		}
		for i, u := range undos {
			if due.IsZero() || u.at.Before(due) {
				due, first = u.at, i
			}
		}
		if due.IsZero() {
			return nil
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-over:
			timer.Stop()
			if !again.IsZero() {
				r.Strikes = append(r.Strikes, Strike{Fault: t.Faults[next]})
			}
			return nil
		case <-timer.C:
		}
		if first >= 0 {
			undos[first].do()
			undos = append(undos[:first], undos[first+1:]...)
			continue
		}
		s, err := t.Cluster.Strike(t.Faults[next])
		if err != nil {
			return err
		}
		if s.Victim == "" {
			again = s.At.Add(victimEvery)
			continue
		}
		again = time.Time{}
		next++
		r.Strikes = append(r.Strikes, s)
		if s.Undo != nil {
			undos = append(undos, undo{s.At.Add(s.Fault.For), s.Undo})
		}
	}
}

// settled waits until nothing is left of the job, and returns what is.
func (t Trial) settled(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, cleanWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := t.Cluster.Left(t.Output)
		if err != nil || len(left) == 0 {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return left, nil
		case <-tick.C:
		}
	}
}
