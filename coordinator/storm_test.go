package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// TestRetryStorm: thousands of tasks fail at once, and again and again. A job whose tasks
// can succeed does; one whose tasks cannot ends, within its budget of attempts; meanwhile
// the coordinator answers.
func TestRetryStorm(t *testing.T) {
	n := 10_000
	if race.Short() {
		n = 500
	}
	for name, hopeless := range map[string]bool{"each task fails twice": false, "each task fails always": true} {
		t.Run(name, func(t *testing.T) {
			c := start(t, t.TempDir())
			w := newFake(t, "w1", int32(n))
			tries := make([]int, n)
			w.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
				a := succeed(s)
				switch {
				case s.GetKind() == divisipb.TaskKind_TASK_KIND_SPLITS:
					r := a.GetResult()
					r.Splits = nil
					for i := range n {
						r.Splits = append(r.Splits, &divisipb.Split{Id: fmt.Sprintf("split-%d", i)})
					}
				case s.GetSplit() != nil:
					i := s.GetId().GetIndex()
					if tries[i]++; hopeless || tries[i] <= 2 {
						return &divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: &divisipb.TaskFailure{Id: s.GetId(), TaskKind: s.GetKind(), ErrorKind: int32(dataflow.Transient), Message: "the store is overloaded"}}}
					}
				}
				return a
			}
			w.attach(c)
			id := submit(t, c)
			cl := client(t, c)
			var answers []time.Duration
			var st *divisipb.JobStatus
			for st.GetEndedUnixNanos() == 0 {
				asked := time.Now()
				var err error
				if st, err = cl.GetJob(t.Context(), &divisipb.GetJobRequest{Job: id}); err != nil {
					t.Fatal(err)
				}
				answers = append(answers, time.Since(asked))
			}
			slices.Sort(answers)
			t.Logf("%d tasks, %d attempts: the status was asked for %d times, the median took %s, the 99th of a hundred %s", n, st.GetAttempts(), len(answers),
				answers[len(answers)/2].Round(time.Microsecond), answers[len(answers)*99/100].Round(time.Microsecond))
			st = outcome(t, c, id)
			w.mu.Lock()
			defer w.mu.Unlock()
			most := slices.Max(tries)
			if !hopeless {
				if st.GetState() != divisipb.JobState_JOB_STATE_SUCCEEDED || most != 3 || st.GetAttempts() != int64(3*n+2) || st.GetRetries() != int64(2*n) {
					t.Errorf("%v %s: a task was tried %d times; %d attempts and %d retries of %d tasks", st.GetState(), st.GetError(), most, st.GetAttempts(), st.GetRetries(), n)
				}
				return
			}
			if st.GetState() != divisipb.JobState_JOB_STATE_FAILED || !strings.Contains(st.GetError(), "failed 4 times, the last time: the store is overloaded") {
				t.Errorf("it ended %v: %s", st.GetState(), st.GetError())
			}
			if most > 4 || st.GetAttempts() > int64(4*n) {
				t.Errorf("a task was tried %d times; %d attempts of %d tasks", most, st.GetAttempts(), n)
			}
		})
	}
}
