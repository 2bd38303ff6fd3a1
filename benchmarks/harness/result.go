// Package harness times contenders side by side and keeps what it saw in one
// format: runs interleaved (A, B, C, then B, C, A, then C, A, B, …) so that a machine
// whose speed drifts is unfair to nobody, medians quoted, every output compared.
package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A Result is what one benchmark saw, as benchmarks/results/<name>.json has it.
type Result struct {
	Name    string  `json:"name"`
	Machine Machine `json:"machine"`
	Rows    []Row   `json:"rows"`
}

// Machine says where.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	OS     string `json:"os"`
	Go     string `json:"go"`
	Memory int64  `json:"memory_bytes"`
}

// A Row is one piece of work done by all contenders.
type Row struct {
	Work  string `json:"work"`
	Bytes int64  `json:"bytes"`
	Size  string `json:"size"` // for people
	// Items is how many there are of what is no bytes, Item the word for one; 0: none.
	Items      int64       `json:"items,omitempty"`
	Item       string      `json:"item,omitempty"`
	Contenders []Contender `json:"contenders"`
}

// A Contender is one way of doing the work.
type Contender struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Command string    `json:"command"`
	Seconds []float64 `json:"seconds"`           // wall, all runs
	CPU     []float64 `json:"cpu_seconds"`       // user and system, all processes
	Peak    int64     `json:"peak_memory_bytes"` // the largest single process, at most
	Checked bool      `json:"checked"`           // the whole output was compared and is right
	Error   string    `json:"error,omitempty"`
	// Cost is what the first contender takes more, in percent of what it takes; where
	// the contender is the first one without something, that is what the thing costs.
	Cost *Cost `json:"cost_percent,omitempty"`
	// Figures are what else was seen, each named with its unit.
	Figures map[string]float64 `json:"figures,omitempty"`
	// Ratio is this contender's median time over the first contender's, by pairs
	// of the same round: above 1 it is slower.
	Ratio float64 `json:"ratio_to_first"`
}

// A Cost is a difference of times within rounds.
type Cost struct {
	Wall Spread `json:"wall"`
	CPU  Spread `json:"cpu"`
}

// Median of a contender's wall times.
func (c Contender) Median() float64 { return median(c.Seconds) }

// MedianCPU of a contender's CPU times.
func (c Contender) MedianCPU() float64 { return median(c.CPU) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// SetRatios fills in each contender's Ratio: the median over rounds of its time over
// the first one's.
func (r *Row) SetRatios() {
	for i := range r.Contenders {
		c, first := &r.Contenders[i], r.Contenders[0]
		var by []float64
		for k := range min(len(c.Seconds), len(first.Seconds)) {
			by = append(by, c.Seconds[k]/first.Seconds[k])
		}
		c.Ratio = median(by)
	}
}

// Save writes dir/<name>.json.
func (r Result) Save(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, r.Name+".json"), append(b, '\n'), 0o644)
}

// ThisMachine describes where we are.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				m.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	m.Memory = memTotal()
	return m
}
