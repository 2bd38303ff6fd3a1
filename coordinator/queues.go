package coordinator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/divisi-data/divisi/coordinator/sched"
)

// A Queue shares the cluster with others. Names are paths: "etl/nightly" shares what
// "etl" gets.
type Queue struct {
	Name     string  `json:"name"`
	Weight   float64 `json:"weight,omitempty"`    // part of what is shared, 0: 1
	MinSlots int     `json:"min_slots,omitempty"` // slots that it gets before others get more than theirs
	MaxSlots int     `json:"max_slots,omitempty"` // slots that it never exceeds, 0: no bound
	Priority int32   `json:"priority,omitempty"`  // higher goes first, once all have their least
}

func (q Queue) share() sched.Queue {
	return sched.Queue{Weight: q.Weight, Min: q.MinSlots, Max: q.MaxSlots, Priority: q.Priority}
}

// ReadQueues reads a JSON file: {"queues": [{"name": "etl", "weight": 2, "min_slots": 4,
// "max_slots": 10, "priority": 1}, ...]}.
func ReadQueues(name string) ([]Queue, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("queues: %w", err)
	}
	var file struct {
		Queues []Queue `json:"queues"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("queues: %s: %w", name, err)
	}
	seen := map[string]bool{}
	for i, q := range file.Queues {
		wrong := ""
		switch {
		case q.Name == "" || strings.Trim(q.Name, "/") != q.Name || strings.Contains(q.Name, "//"):
			wrong = "its name is no path such as \"etl/nightly\""
		case seen[q.Name]:
			wrong = "it is there twice"
		case q.Weight < 0 || q.MinSlots < 0 || q.MaxSlots < 0:
			wrong = "a number is below zero"
		case q.MaxSlots > 0 && q.MinSlots > q.MaxSlots:
			wrong = fmt.Sprintf("its min_slots %d is more than its max_slots %d", q.MinSlots, q.MaxSlots)
		}
		if wrong != "" {
			return nil, fmt.Errorf("queues: %s: queue %d (%q): %s", name, i, q.Name, wrong)
		}
		seen[q.Name] = true
	}
	return file.Queues, nil
}

// knows refuses a queue that is not one of those configured, if any are. No name is the
// root's own.
func (cfg *Config) knows(queue string) error {
	if queue == "" || len(cfg.Queues) == 0 {
		return nil
	}
	var names []string
	for _, q := range cfg.Queues {
		if q.Name == queue {
			return nil
		}
		names = append(names, q.Name)
	}
	return fmt.Errorf("no queue %q: there are %s", queue, strings.Join(names, ", "))
}
