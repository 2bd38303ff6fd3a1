// Secondarysort shows MapReduce with a secondary sort: it goes through each user's
// events in order of time without holding them, and cuts them into sessions.
//
//	secondarysort [--pause 30m] IN OUT
//
// A line of the input is a user, a tab, a time in seconds since 1970, and whatever
// may follow after another tab. A session ends with a pause that is longer than the
// given one. A line of the output is a user, the number of sessions and of events,
// and the longest session in seconds, tabs between them.
package main

import (
	"fmt"
	"hash/fnv"
	"iter"
	"strconv"
	"strings"
	"time"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(secondarysort) }

func secondarysort(j *df.Job) {
	pause := j.Duration("pause", 30*time.Minute, "what ends a session, if it is longer")
	lines := df.Read(j, df.Lines(j.Arg(0)))
	out := df.MapReduceWith(lines, events{}, sessions{int64(pause / time.Second)}, df.Shuffle[event, int64]{
		// The user says where an event goes and which call of Reduce gets it, the
		// time only in which order.
		Partitioner: byUser{},
		Group:       func(a, b event) bool { return a.User == b.User },
	})
	df.Write(out, df.TSV[user](j.Arg(1)))
}

// An event is the key, ordered by its fields in turn.
type event struct {
	User string
	Time int64
}

// A user is a line of the output.
type user struct {
	User     string
	Sessions int64
	Events   int64
	Longest  int64 // seconds
}

type events struct{ task *df.Task }

// ForTask gives Map a task that it can end.
func (events) ForTask(t *df.Task) df.Mapper[string, event, int64] { return events{t} }

func (m events) Map(line string, emit func(event, int64)) {
	name, rest, _ := strings.Cut(line, "\t")
	stamp, _, _ := strings.Cut(rest, "\t")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		m.task.Fail(fmt.Errorf("no time behind the first tab: %w", err))
	}
	emit(event{name, at}, at)
}

type byUser struct{}

func (byUser) Partition(e event) int {
	h := fnv.New32a()
	h.Write([]byte(e.User))
	return int(h.Sum32() >> 1)
}

type sessions struct{ pause int64 }

// Reduce is given the first of a user's events for a key, and the values of all of
// them in order of time.
func (s sessions) Reduce(first event, times iter.Seq[int64], emit df.Emit[user]) {
	u := user{User: first.User}
	var begin, last int64
	for t := range times {
		if u.Events == 0 || t-last > s.pause {
			u.Sessions++
			begin = t
		}
		last = t
		u.Events++
		u.Longest = max(u.Longest, last-begin)
	}
	emit(u)
}
