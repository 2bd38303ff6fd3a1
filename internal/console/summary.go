package console

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/client"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A Summary is what a job did, as programs print it in their last line. The fields
// are a contract with scripts.
type Summary struct {
	Job             string           `json:"job"`   // id
	State           string           `json:"state"` // succeeded, failed, canceled
	Seconds         float64          `json:"seconds"`
	Stages          int              `json:"stages"`
	Tasks           int64            `json:"tasks"`
	Attempts        int64            `json:"attempts"`
	Retries         int64            `json:"retries"`
	RecordsIn       int64            `json:"records_in"`
	RecordsOut      int64            `json:"records_out"`
	BytesIn         int64            `json:"bytes_in"`
	BytesOut        int64            `json:"bytes_out"`
	BytesShuffled   int64            `json:"bytes_shuffled"`
	BytesSpilled    int64            `json:"bytes_spilled"`
	PeakMemoryBytes int64            `json:"peak_memory_bytes"`
	Counters        map[string]int64 `json:"counters"`
}

// Summarize is the summary of a job's status.
func Summarize(s *pb.JobStatus) Summary {
	st := s.GetStats()
	sum := Summary{
		Job: s.Id, State: State(s.State), Seconds: Seconds(s),
		Stages: len(s.Stages), Tasks: s.Tasks, Attempts: s.Attempts, Retries: s.Retries,
		RecordsIn: s.RecordsIn, RecordsOut: s.RecordsOut,
		BytesIn: SourceBytes(st), BytesOut: st.GetBytesOut(),
		BytesShuffled: st.GetBytesShuffled(), BytesSpilled: st.GetBytesSpilled(),
		PeakMemoryBytes: st.GetPeakMemoryBytes(),
		Counters:        s.Counters,
	}
	if sum.Counters == nil {
		sum.Counters = map[string]int64{}
	}
	return sum
}

// SourceBytes is what was read from sources: tasks count as read also what they
// fetched from earlier stages.
func SourceBytes(st *pb.TaskStats) int64 {
	return st.GetBytesIn() - st.GetBytesFetchedLocal() - st.GetBytesFetchedRemote()
}

// State is a job's state as it is printed: "running".
func State(s pb.JobState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "JOB_STATE_"))
}

// Seconds is how long a job has run, 0 if it has not ended.
func Seconds(s *pb.JobStatus) float64 {
	if s.EndedUnixNanos == 0 {
		return 0
	}
	return time.Duration(s.EndedUnixNanos - s.SubmittedUnixNanos).Round(time.Microsecond).Seconds()
}

// Print writes the summary as one line, for people or as one JSON object.
func (s Summary) Print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	bad := ""
	if n := s.Counters["files.bad_records"] + s.Counters["kafka.bad_records"]; n > 0 {
		bad = ", bad records left out: " + Count(n)
	}
	_, err := fmt.Fprintf(w, "%s %s in %s: %s tasks (%s retries), read %s records (%s), wrote %s (%s), shuffled %s, spilled %s%s\n",
		s.Job, s.State, Duration(time.Duration(s.Seconds*float64(time.Second))),
		Count(s.Tasks), Count(s.Retries), Count(s.RecordsIn), Bytes(s.BytesIn),
		Count(s.RecordsOut), Bytes(s.BytesOut), Bytes(s.BytesShuffled), Bytes(s.BytesSpilled), bad)
	return err
}

// Outcome is nil for a job that succeeded, or the error a program ends with.
func Outcome(s *pb.JobStatus) error {
	switch s.State {
	case pb.JobState_JOB_STATE_SUCCEEDED:
		return nil
	case pb.JobState_JOB_STATE_CANCELED:
		return Exitf(Canceled, "job %s (%s) was cancelled%s", s.Id, Plain(s.Name), because(s.Error))
	case pb.JobState_JOB_STATE_FAILED:
		if s.Error == "" {
			return Exitf(JobFailed, "job %s (%s) failed", s.Id, Plain(s.Name))
		}
		return Exitf(JobFailed, "job %s (%s) failed: %w", s.Id, Plain(s.Name), dataflow.NamedError(Plain(s.Error), s.ErrorNames))
	}
	if !client.Ended(s.State) {
		return Exitf(JobFailed, "job %s (%s) is still %s", s.Id, Plain(s.Name), State(s.State))
	}
	return nil
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + Plain(text)
}
