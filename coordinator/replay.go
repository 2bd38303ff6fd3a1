package coordinator

import (
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/proto/divisipb"
)

func journalDir(state string) string { return filepath.Join(state, "journal") }

// replay builds the state from records, and remembers those that the next journal has
// to begin with.
type replay struct {
	s     *state
	n     int
	open  map[string]*replayed // jobs of which something is left to do
	epoch journal.Record       // the last EpochBegan
	kept  []journal.Record     // of ended jobs, by sequence after keep
}

type replayed struct {
	js      *jobState
	records []journal.Record
}

func newReplay(s *state) *replay { return &replay{s: s, open: map[string]*replayed{}} }

// Condense reads a journal's records in order and says which of them, or what instead of
// them, the next coordinator has to know. It looks at nothing but the records, so it may
// run beside a coordinator that writes more of them.
func Condense(read func(each func(journal.Record) error) error) (iter.Seq[journal.Record], error) {
	re := newReplay(newState(&Coordinator{log: slog.New(slog.DiscardHandler)}))
	if err := read(re.record); err != nil {
		return nil, err
	}
	return re.keep, nil
}

func (re *replay) record(r journal.Record) error {
	re.n++
	s := re.s
	if r.Job == "" {
		re.cluster(r)
		return nil
	}
	switch b := r.Body.(type) {
	case *divisipb.JournalRecord_Submitted:
		js, err := s.newJobState(b.Submitted.GetRequest(), r.GetUnixNanos())
		if err != nil {
			return fmt.Errorf("journal: record %d: job %s: %w", r.Sequence, r.Job, err)
		}
		s.enter(js)
		re.open[r.Job] = &replayed{js: js}
	case *divisipb.JournalRecord_JobArchived:
		js := archivedJob(b.JobArchived)
		s.enter(js)
		re.kept = append(re.kept, r)
		return nil
	}
	o := re.open[r.Job]
	if o == nil {
		return nil // of a job that was forgotten
	}
	o.records = append(o.records, r)
	o.js.note(r.Sequence, r.JournalRecord)
	rec := fromRecord(r.JournalRecord)
	if rec == nil {
		return nil
	}
	if err := o.js.job.Replay(job.Instant(r.GetUnixNanos()), rec); err != nil {
		return fmt.Errorf("journal: record %d: %w", r.Sequence, err)
	}
	if o.js.job.Over() {
		// A summary stands for all its records from now on.
		o.js.close()
		re.kept = append(re.kept, journal.Record{Epoch: r.Epoch, Sequence: r.Sequence, JournalRecord: o.js.archive()})
		delete(re.open, r.Job)
	}
	return nil
}

func (re *replay) cluster(r journal.Record) {
	s := re.s
	switch b := r.Body.(type) {
	case *divisipb.JournalRecord_EpochBegan:
		re.epoch = r
		s.cluster = b.EpochBegan.GetCluster()
	case *divisipb.JournalRecord_WorkerJoined:
		w := job.Worker{ID: b.WorkerJoined.GetWorker(), Incarnation: b.WorkerJoined.GetIncarnation()}
		s.expected[w] = b.WorkerJoined
		re.kept = append(re.kept, r)
	case *divisipb.JournalRecord_WorkerLeft:
		w := job.Worker{ID: b.WorkerLeft.GetWorker(), Incarnation: b.WorkerLeft.GetIncarnation()}
		delete(s.expected, w)
		s.depart(w, r.Sequence, r.JournalRecord)
	}
}

// keep yields what the next journal begins with: the cluster's name, workers that may
// come back and those that must not, everything of jobs that are not over, and summaries
// of the last that are.
func (re *replay) keep(yield func(journal.Record) bool) {
	s := re.s
	var all []journal.Record
	if re.epoch.JournalRecord != nil {
		all = append(all, re.epoch)
	}
	archived := 0
	for _, r := range slices.Backward(re.kept) {
		if w := r.GetWorkerJoined(); w != nil {
			if s.expected[job.Worker{ID: w.GetWorker(), Incarnation: w.GetIncarnation()}] == w {
				all = append(all, r)
			}
			continue
		}
		if archived++; archived <= endedJobsMax {
			all = append(all, r)
		}
	}
	for _, d := range s.departedOrder {
		all = append(all, journal.Record{Epoch: 1, Sequence: d.seq, JournalRecord: d.rec})
	}
	for _, id := range slices.Sorted(maps.Keys(re.open)) {
		all = append(all, re.open[id].records...)
		if mutant.On("snapshots forget winners") {
			all = slices.DeleteFunc(all, func(r journal.Record) bool { return r.GetTaskWon() != nil })
		}
	}
	slices.SortFunc(all, func(a, b journal.Record) int {
		if a.Sequence < b.Sequence {
			return -1
		}
		return 1
	})
	for _, r := range all {
		if !yield(r) {
			return
		}
	}
	re.open, re.kept = nil, nil
}
