package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A jobDoc is a job as commands print it. Field names are a contract.
type jobDoc struct {
	versioned
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Owner     string     `json:"owner"`
	State     string     `json:"state"`
	Error     string     `json:"error"`
	Waiting   string     `json:"waiting"`
	Submitted string     `json:"submitted"` // RFC 3339, "" where it has not happened
	Started   string     `json:"started"`
	Ended     string     `json:"ended"`
	Seconds   float64    `json:"seconds"`
	Cleaned   bool       `json:"cleaned"`
	Left      string     `json:"left,omitempty"` // what could not be cleaned, so far or for good, and why
	Tasks     int64      `json:"tasks"`
	Attempts  int64      `json:"attempts"`
	Retries   int64      `json:"retries"`
	Copies    int64      `json:"copies"` // beside slow attempts
	Queue     string     `json:"queue"`
	Priority  int32      `json:"priority"`
	RowsIn    int64      `json:"records_in"`
	RowsOut   int64      `json:"records_out"`
	BytesIn   int64      `json:"bytes_in"`
	BytesOut  int64      `json:"bytes_out"`
	Shuffled  int64      `json:"bytes_shuffled"`
	Spilled   int64      `json:"bytes_spilled"`
	Peak      int64      `json:"peak_memory_bytes"`
	Stages    []stageDoc `json:"stages,omitempty"` // not in lists

	Placed   map[string]int64 `json:"placed,omitempty"` // tasks that are done, by how near their input was
	Counters map[string]int64 `json:"counters,omitempty"`
}

type stageDoc struct {
	ID       int32   `json:"id"`
	Name     string  `json:"name"`
	State    string  `json:"state"`
	Tasks    int32   `json:"tasks"`
	Done     int32   `json:"done"`
	Running  int32   `json:"running"`
	Failed   int32   `json:"failed_attempts"`
	Fraction float64 `json:"fraction"`
	RowsIn   int64   `json:"records_in"`
	RowsOut  int64   `json:"records_out"`
	BytesIn  int64   `json:"bytes_in"`
	BytesOut int64   `json:"bytes_out"`
	Shuffled int64   `json:"bytes_shuffled"`
	Spilled  int64   `json:"bytes_spilled"`
	Seconds  float64 `json:"seconds"`
}

func jobDocOf(s *pb.JobStatus, now time.Time) *jobDoc {
	st := s.GetStats()
	d := &jobDoc{
		ID: s.Id, Name: s.Name, Owner: s.Owner, State: console.State(s.State), Error: s.Error, Waiting: s.Waiting,
		Submitted: instant(s.SubmittedUnixNanos), Started: instant(s.StartedUnixNanos), Ended: instant(s.EndedUnixNanos),
		Seconds: age(s, now).Seconds(), Cleaned: s.Cleaned, Left: s.Left,
		Tasks: s.Tasks, Attempts: s.Attempts, Retries: s.Retries, Copies: s.Copies, Queue: s.Queue, Priority: s.Priority, Placed: s.Placed, RowsIn: s.RecordsIn, RowsOut: s.RecordsOut,
		BytesIn: console.SourceBytes(st), BytesOut: st.GetBytesOut(), Shuffled: st.GetBytesShuffled(),
		Spilled: st.GetBytesSpilled(), Peak: st.GetPeakMemoryBytes(), Counters: s.Counters,
	}
	for _, g := range s.Stages {
		t := g.GetStats()
		sd := stageDoc{
			ID: g.Id, Name: g.Name, State: g.State, Tasks: g.Tasks, Done: g.Done, Running: g.Running,
			Failed: g.FailedAttempts, Fraction: g.Fraction, RowsIn: t.GetRowsIn(), RowsOut: t.GetRowsOut(),
			BytesIn: t.GetBytesIn(), BytesOut: t.GetBytesOut(), Shuffled: t.GetBytesShuffled(), Spilled: t.GetBytesSpilled(),
		}
		if g.EndedUnixNanos > 0 {
			sd.Seconds = time.Duration(g.EndedUnixNanos - g.StartedUnixNanos).Seconds()
		}
		d.Stages = append(d.Stages, sd)
	}
	return d
}

func instant(nanos int64) string {
	if nanos == 0 {
		return ""
	}
	return time.Unix(0, nanos).UTC().Format(time.RFC3339Nano)
}

// age is how long a job took, or has taken so far.
func age(s *pb.JobStatus, now time.Time) time.Duration {
	switch {
	case s.SubmittedUnixNanos == 0:
		return 0
	case s.EndedUnixNanos != 0:
		return time.Duration(s.EndedUnixNanos - s.SubmittedUnixNanos).Round(time.Microsecond)
	}
	return max(0, now.Sub(time.Unix(0, s.SubmittedUnixNanos)).Round(time.Millisecond))
}

func jobTable(w io.Writer, jobs []*pb.JobStatus, now time.Time) {
	fmt.Fprintln(w, "JOB\tNAME\tSTATE\tAGE\tTOOK\tTASKS\tRETRIES\tREAD\tWROTE")
	for _, s := range jobs {
		took := console.Duration(age(s, now))
		since := console.Duration(max(0, now.Sub(time.Unix(0, s.SubmittedUnixNanos))).Round(time.Second))
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Id, console.Plain(s.Name), console.State(s.State), since, took,
			console.Count(s.Tasks), console.Count(s.Retries), console.Bytes(console.SourceBytes(s.GetStats())), console.Bytes(s.GetStats().GetBytesOut()))
	}
}

func jobDetails(w io.Writer, s *pb.JobStatus, now time.Time) {
	st := s.GetStats()
	fmt.Fprintf(w, "job\t%s\nname\t%s\nowner\t%s\nstate\t%s\n", s.Id, console.Plain(s.Name), console.Plain(s.Owner), console.State(s.State))
	if s.Error != "" {
		fmt.Fprintf(w, "error\t%s\n", console.Plain(s.Error))
	}
	if s.Waiting != "" && !client.Ended(s.State) {
		fmt.Fprintf(w, "waiting\t%s\n", console.Plain(s.Waiting))
	}
	console.TellLeft(s, func(format string, a ...any) { fmt.Fprintf(w, "left\t"+format+"\n", a...) })
	fmt.Fprintf(w, "submitted\t%s\ntook\t%s\n", instant(s.SubmittedUnixNanos), console.Duration(age(s, now)))
	fmt.Fprintf(w, "tasks\t%s (%s attempts, %s retries)\n", console.Count(s.Tasks), console.Count(s.Attempts), console.Count(s.Retries))
	if s.Queue != "" || s.Priority != 0 {
		fmt.Fprintf(w, "queue\t%s (priority %d)\n", console.Plain(s.Queue), s.Priority)
	}
	if len(s.Placed) > 0 {
		fmt.Fprintf(w, "placed\t%s\n", levelCounts(s.Placed))
	}
	if s.Copies > 0 {
		fmt.Fprintf(w, "copies\t%s beside slow tasks\n", console.Count(s.Copies))
	}
	fmt.Fprintf(w, "read\t%s records, %s\nwrote\t%s records, %s\n", console.Count(s.RecordsIn), console.Bytes(console.SourceBytes(st)), console.Count(s.RecordsOut), console.Bytes(st.GetBytesOut()))
	fmt.Fprintf(w, "shuffled\t%s\nspilled\t%s\npeak memory\t%s\n", console.Bytes(st.GetBytesShuffled()), console.Bytes(st.GetBytesSpilled()), console.Bytes(st.GetPeakMemoryBytes()))
	if len(s.Stages) > 0 {
		fmt.Fprintln(w, "\nSTAGE\tNAME\tSTATE\tDONE\tRUNNING\tFAILED\tROWS IN\tROWS OUT\tSHUFFLED\tSPILLED")
	}
	for _, g := range s.Stages {
		t := g.GetStats()
		fmt.Fprintf(w, "%d\t%s\t%s\t%d/%d\t%d\t%d\t%s\t%s\t%s\t%s\n", g.Id, console.Plain(g.Name), g.State, g.Done, g.Tasks, g.Running, g.FailedAttempts,
			console.Count(t.GetRowsIn()), console.Count(t.GetRowsOut()), console.Bytes(t.GetBytesShuffled()), console.Bytes(t.GetBytesSpilled()))
	}
	var names []string
	for n := range s.Counters {
		names = append(names, n)
	}
	slices.Sort(names)
	if len(names) > 0 {
		fmt.Fprintln(w, "\nCOUNTER\tVALUE")
	}
	for _, n := range names {
		fmt.Fprintf(w, "%s\t%s\n", console.Plain(n), console.Count(s.Counters[n]))
	}
}
