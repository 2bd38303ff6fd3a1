package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/divisi-data/divisi/dataflow"
)

// ErrDamaged: what should be a plan is not what was written.
var ErrDamaged = errors.New("plan damaged")

// See docs/format/plan.md. A plan begins with the sum of itself without the sum; those
// of before there was one begin with the version.
const (
	sumHead  = `{"crc32c":"`
	sumTail  = `",`
	sumBytes = len(sumHead) + 8 + len(sumTail)
	unsummed = `{"version":`
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// JSON is the plan as it travels: one line.
func (p *Plan) JSON() ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return append(summed(b), b[1:]...), nil
}

// summed is how a plan begins that is b without its sum.
func summed(b []byte) []byte {
	return fmt.Appendf(nil, "%s%08x%s", sumHead, crc32.Checksum(b, castagnoli), sumTail)
}

// Parse reads a plan, which a line's end may follow. It fails with ErrDamaged when it is
// not what was written, and refuses one made by a newer release.
func Parse(b []byte) (*Plan, error) {
	b = bytes.TrimSuffix(b, []byte("\n"))
	switch {
	case bytes.HasPrefix(b, []byte(sumHead)):
		if len(b) < sumBytes {
			return nil, fmt.Errorf("%w: it is cut short", ErrDamaged)
		}
		plain := append([]byte{'{'}, b[sumBytes:]...)
		if !bytes.Equal(b[:sumBytes], summed(plain)) {
			return nil, fmt.Errorf("%w: its checksum does not match", ErrDamaged)
		}
		b = plain
	case !bytes.HasPrefix(b, []byte(unsummed)):
		return nil, fmt.Errorf("%w: it does not begin like one (a plan is one line, as it was printed: its checksum is of these bytes)", ErrDamaged)
	}
	p := &Plan{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if p.Version != Version {
		return nil, fmt.Errorf("plan: version %d, this release reads %d", p.Version, Version)
	}
	return p, p.check()
}

// check makes a plan from outside safe to index by.
func (p *Plan) check() error {
	for i, s := range p.Stages {
		if s.ID != i {
			return fmt.Errorf("plan: stage %d is numbered %d", i, s.ID)
		}
		shared := 0
		for _, in := range s.Inputs {
			if in.Shared {
				shared++
			}
			switch {
			case in.Shared && in.Mode != ByPartition, shared > 1:
				return fmt.Errorf("plan: stage %d shares out %d of its inputs: it is one that is read by partition, or none", i, shared)
			case in.Mode == BySplit && (in.Source < 0 || in.Source >= len(p.Sources)),
				in.Mode != BySplit && (in.Exchange < 0 || in.Exchange >= len(p.Exchanges)):
				return fmt.Errorf("plan: stage %d reads what is not there", i)
			}
		}
		x, k := s.Output.Exchange, s.Output.Sink
		if (x < 0) == (k < 0) || x >= len(p.Exchanges) || k >= len(p.Sinks) || s.Output.Sample >= len(p.Exchanges) {
			return fmt.Errorf("plan: stage %d writes to what is not there", i)
		}
	}
	for i, x := range p.Exchanges {
		least := 1
		if x.Kind == dataflow.Forward {
			least = 0 // it has as many as there are producers' tasks
		}
		if x.ID != i || x.Partitions < least {
			return fmt.Errorf("plan: exchange %d has number %d and %d partitions", i, x.ID, x.Partitions)
		}
		for _, s := range append(append([]int{}, x.Producers...), x.Consumers...) {
			if s < 0 || s >= len(p.Stages) {
				return fmt.Errorf("plan: exchange %d names stage %d of %d", i, s, len(p.Stages))
			}
		}
	}
	return nil
}
