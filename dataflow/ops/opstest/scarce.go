package opstest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

// Scarce runs an operator so many times while memory comes and goes between any two
// requests, and reports what CheckScarce says. Other tests have other seeds.
func Scarce(t *testing.T, op dataflow.Operator, in []dataflow.Batch, want []string, tries int, opts ...Option) {
	t.Helper()
	h := fnv.New64a()
	_, _ = io.WriteString(h, t.Name())
	errs := CheckScarce(t.Context(), op, in, want, h.Sum64(), tries, opts...)
	for _, err := range errs[:min(len(errs), 5)] {
		t.Error(err)
	}
	if n := len(errs); n > 5 {
		t.Errorf("and %d more", n-5)
	}
}

// CheckScarce tries an operator by so many seeds from the first on. Each says when memory is refused that can be
// done without, how much there is at most, and how the run ends: with the last row, a
// Close after some batches, a cancelled context, a failing input or file. The rows that
// come out must be want, or some of them where the end came early; the error that of
// whatever failed, or ErrOutOfMemory where there is a limit; and as after Check nothing
// may remain.
func CheckScarce(ctx context.Context, op dataflow.Operator, in []dataflow.Batch, want []string, first uint64, tries int, opts ...Option) []error {
	t := &trial{ctx: ctx, op: op, in: in, want: want}
	for _, o := range opts {
		o(t)
	}
	if t.unordered {
		t.want = slices.Sorted(slices.Values(want))
	}
	var schemas []*arrow.Schema
	for _, b := range in {
		schemas = append(schemas, b.Schema())
	}
	var err error
	if t.schema, err = op.Schema(schemas...); err != nil {
		return []error{fmt.Errorf("schema: %w", err)}
	}
	peak := t.whole("with all memory", setup{size: 50})
	spilled, whole := 0, 0
	for seed := range uint64(tries) {
		w := t.newWeather(first+seed, peak)
		w.try(t)
		if w.spill.Made() > 0 {
			spilled++
		}
		if w.ended {
			whole++
		}
	}
	if t.spills && spilled < tries/4 {
		t.errorf("of %d tries %d spilled", tries, spilled)
	}
	if whole < tries/8 {
		t.errorf("of %d tries %d gave all rows", tries, whole)
	}
	return t.errs
}

// A weather is what a seed says of one try.
type weather struct {
	rng    *rand.Rand
	name   string
	how    setup
	refuse func(n int64) bool
	events int // so far: whatever asks for memory or touches a file

	cancelAt int // the event; 0: none
	cancel   context.CancelFunc
	broken   string // what fails with files, or nothing
	brokenAt int    // the how manieth of these
	failed   bool   // it has
	ended    bool   // all rows came

	spill *Spill
}

var errFile = fmt.Errorf("%w: the file", dataflow.ErrDiskFull)

// eventsMost is what no operator needs for what is tried here, however little it gets.
const eventsMost = 1 << 21

func (t *trial) newWeather(seed uint64, peak int64) *weather {
	w := &weather{rng: rand.New(rand.NewPCG(seed, 0x5ca2ce))}
	rows := 0
	for _, b := range t.in {
		rows = max(rows, int(b.NumRows()))
	}
	w.how = setup{size: 1 + int(math.Pow(float64(max(rows, 1)), w.rng.Float64())), bytes: 32 << w.rng.IntN(8)}
	if w.rng.IntN(3) == 0 { // of all sizes alike
		w.how.limit = int64(math.Pow(2*float64(max(peak, 2)), w.rng.Float64()))
	}
	w.how.tune = w.tune
	kind := w.rng.IntN(7)
	w.refuse = w.spells(kind, peak)
	w.name = fmt.Sprintf("seed %d, memory of kind %d, limit %d, batches of %d", seed, kind, w.how.limit, w.how.size)
	w.ends(t, rows)
	return w
}

// spells is one way in which memory comes and goes.
func (w *weather) spells(kind int, peak int64) func(n int64) bool {
	rng, asked, no := w.rng, 0, false
	left := rng.IntN(100)
	switch kind {
	case 0: // as much as the limit says
		return func(int64) bool { return false }
	case 1: // none
		return func(int64) bool { return true }
	case 2: // by a coin
		p := rng.Float64()
		return func(int64) bool { return rng.Float64() < p }
	case 3: // in turns
		long := 1 + rng.IntN(60)
		return func(int64) bool {
			if left--; left < 0 {
				no, left = !no, rng.IntN(long)
			}
			return no
		}
	case 4: // only a little at once
		most := int64(math.Pow(float64(max(peak, 2)), rng.Float64()))
		return func(n int64) bool { return n > most }
	case 5: // for a while, and then no more
		return func(int64) bool { asked++; return asked > left }
	}
	return func(int64) bool { asked++; return asked <= left } // only after a while
}

// ends says how the try ends.
func (w *weather) ends(t *trial, rows int) {
	switch w.rng.IntN(10) {
	case 0:
		w.how.stopAfter = 1 + w.rng.IntN(4)
		w.name += fmt.Sprintf(", closed after %d", w.how.stopAfter)
	case 1:
		w.cancelAt = 1 + w.early(2000)
		w.name += fmt.Sprintf(", cancelled at event %d", w.cancelAt)
	case 2:
		w.how.failing, w.how.at = 1+w.rng.IntN(len(t.in)), w.rng.IntN(rows+1)
		w.name += fmt.Sprintf(", input %d fails at row %d", w.how.failing-1, w.how.at)
	case 3, 4, 5:
		kinds := []string{"create", "write", "finish", "open", "read"}
		w.broken, w.brokenAt = kinds[w.rng.IntN(len(kinds))], 1+w.early(100)
		w.name += fmt.Sprintf(", %s %d fails", w.broken, w.brokenAt)
	}
}

// early is a number below n, small ones more often.
func (w *weather) early(n int) int { return int(math.Pow(float64(n), w.rng.Float64())) - 1 }

func (w *weather) tune(env *dataflow.Env, spill *Spill, cancel context.CancelFunc) {
	w.spill, w.cancel = spill, cancel
	env.Memory.Refuse(func(n int64) bool { w.event(); return w.refuse(n) })
	spill.Fault(func(what string) error {
		w.event()
		if what == w.broken {
			if w.brokenAt--; w.brokenAt == 0 {
				w.failed = true
				return errFile
			}
		}
		return nil
	})
}

func (w *weather) event() {
	if w.events++; w.events == w.cancelAt || w.events == eventsMost {
		w.cancel()
	}
}

func (w *weather) try(t *trial) {
	t.open(w.name, w.how, func(ctx context.Context, out dataflow.Stream) {
		got, err := t.collect(ctx, w.name, w.how, out)
		if err == io.EOF && !w.failed && (w.how.failing == 0 || !t.inputs[w.how.failing-1].failed) {
			w.ended = true
			t.compare(w.name, got)
			return
		}
		t.among(w.name, got)
		switch {
		case err == nil && w.how.stopAfter > 0:
		case w.events >= eventsMost:
			t.errorf("%s: no end after %d requests", w.name, w.events)
		case w.failed && errors.Is(err, errFile):
		case w.how.failing > 0 && errors.Is(err, errInput):
		case w.cancelAt > 0 && errors.Is(err, context.Canceled):
		case w.how.limit > 0 && errors.Is(err, dataflow.ErrOutOfMemory) && dataflow.KindOf(err) == dataflow.OutOfMemory:
		default:
			t.errorf("%s: it ends with %v", w.name, err)
		}
	})
}

// among checks rows that came before an early end.
func (t *trial) among(name string, got []string) {
	if !t.unordered {
		if len(got) > len(t.want) || !slices.Equal(got, t.want[:len(got)]) {
			t.errorf("%s: %d rows before the end that are not the first of %d", name, len(got), len(t.want))
		}
		return
	}
	left := map[string]int{}
	for _, r := range t.want {
		left[r]++
	}
	for _, r := range got {
		if left[r]--; left[r] < 0 {
			t.errorf("%s: before the end, one row too many is %s", name, r)
			return
		}
	}
}
