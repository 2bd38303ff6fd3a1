package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// notice looks up in the coordinator's log when it gave up the workers that were killed
// or stopped. It looks only where cause and effect are plain: at workers that were there,
// in trials in which nothing happened to the coordinator before.
func (c *Cluster) notice(strikes []Strike) error {
	b, err := os.ReadFile(filepath.Join(c.Dir, "coordinator.log"))
	if err != nil {
		return err
	}
	there := map[string]bool{}
	done := map[int]bool{}
	for line := range strings.Lines(string(b)) {
		joined, lost := strings.Contains(line, `msg="worker joined"`), strings.Contains(line, `msg="worker lost"`)
		if !joined && !lost {
			continue
		}
		at, err := time.Parse(time.RFC3339, field(line, "time"))
		if err != nil {
			continue // of a coordinator that was killed while it wrote
		}
		worker := field(line, "worker")
		for i := range strikes {
			s := &strikes[i]
			if at.Before(s.At.Truncate(time.Millisecond)) { // the log has milliseconds
				break
			}
			if s.Fault.Role == Coordinator {
				return nil
			}
			if done[i] || s.Victim != worker || s.Fault.Kind != Kill && s.Fault.Kind != Stop {
				continue
			}
			done[i] = true
			if lost && there[worker] && (s.Fault.Kind == Kill || at.Before(s.At.Add(s.Fault.For+time.Second))) {
				s.Noticed = max(at.Sub(s.At), time.Millisecond)
			}
		}
		there[worker] = joined
	}
	return nil
}

func field(line, name string) string {
	_, rest, _ := strings.Cut(" "+line, " "+name+"=")
	value, _, _ := strings.Cut(rest, " ")
	return strings.TrimSpace(value)
}
