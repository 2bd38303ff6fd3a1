package opstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
	"github.com/divisi-data/divisi/internal/race"
)

// An Option says what an operator promises or does not.
type Option func(*trial)

// Unordered rows may come in any order.
func Unordered() Option { return func(t *trial) { t.unordered = true } }

// Spills: the operator gives the same rows with a tenth of the memory it would
// like, by spilling.
func Spills() Option { return func(t *trial) { t.spills = true } }

// StopsEarly: the operator may end before its inputs do.
func StopsEarly() Option { return func(t *trial) { t.stopsEarly = true } }

// Run opens op on the rows of in, in batches of several sizes, and reports what is
// not as Check says.
func Run(t *testing.T, op dataflow.Operator, in []dataflow.Batch, want []string, opts ...Option) {
	t.Helper()
	for _, err := range Check(t.Context(), op, in, want, opts...) {
		t.Error(err)
	}
}

// Check tries an operator and returns what is wrong with it. The rows that come
// out must be want, as Row spells them, whatever the size of the batches that go
// in. No batch is empty or of another schema than the operator's, EOF and errors
// repeat, Close may come early and twice and closes the inputs, a cancelled
// context and a failing input or spill end it with that error, no Arrow memory, no
// reservation and no run remain. With a tenth of the memory, what is held at once
// is much less than the input.
func Check(ctx context.Context, op dataflow.Operator, in []dataflow.Batch, want []string, opts ...Option) []error {
	t := &trial{ctx: ctx, op: op, in: in, want: want}
	for _, o := range opts {
		o(t)
	}
	if t.unordered {
		t.want = slices.Sorted(slices.Values(want))
	}
	schemas := make([]*arrow.Schema, len(in))
	rows := 0
	for i, b := range in {
		schemas[i] = b.Schema()
		rows = max(rows, int(b.NumRows()))
	}
	var err error
	if t.schema, err = op.Schema(schemas...); err != nil {
		return []error{fmt.Errorf("schema: %w", err)}
	}
	var peak int64
	sizes := []int{1, 2, 3, max(3, rows)}
	if rows > 300 { // tiny batches of so many rows only take time
		sizes = []int{rows, rows / 100, rows / 7}[:race.Tries(3, 3, 2)]
	}
	for _, size := range sizes {
		p := t.whole(fmt.Sprintf("batch=%d", size), setup{size: size})
		peak = max(peak, p)
	}
	size := max(1, rows/7)
	t.early(size)
	t.cancelled(size)
	for i, b := range in {
		for _, at := range slices.Compact([]int{0, int(b.NumRows()) / 2, int(b.NumRows())}) {
			t.failing(fmt.Sprintf("input %d fails at row %d", i, at), setup{size: size, failing: i + 1, at: at}, errInput)
		}
	}
	if t.spills {
		tight := setup{size: max(1, rows/100), limit: max(peak/10, 1), spills: true}
		t.whole("a tenth of the memory", tight)
		for _, n := range []int{2, 1, 50}[:race.Tries(3, 3, 1)] {
			s := tight
			s.stopAfter, s.spills = n, false
			t.closed(fmt.Sprintf("a tenth of the memory, closed after %d batches", n), s)
		}
		for i, b := range in {
			s := tight
			s.failing, s.at, s.spills = i+1, int(b.NumRows())*9/10, false
			t.failing(fmt.Sprintf("a tenth of the memory, input %d fails", i), s, errInput)
		}
		tight.failSpill = 2
		t.failing("the spill fails", tight, dataflow.ErrDiskFull)
	}
	return t.errs
}

type trial struct {
	ctx                           context.Context
	op                            dataflow.Operator
	in                            []dataflow.Batch
	want                          []string
	schema                        *arrow.Schema
	unordered, spills, stopsEarly bool
	inputs                        []*slice // of the stream that was opened last
	errs                          []error
}

func (t *trial) errorf(format string, args ...any) {
	t.errs = append(t.errs, fmt.Errorf(format, args...))
}

// A setup is one way to run the operator.
type setup struct {
	size      int   // rows of a batch
	limit     int64 // of memory
	spills    bool  // must spill
	failing   int   // input that fails, from 1
	at        int   // at this row
	failSpill int   // write of a spill that fails, from 1
	cancel    bool
	stopAfter int // batches, 0: all, -1: none at all
	bytes     int // of a batch, 0: the usual
	tune      func(env *dataflow.Env, spill *Spill, cancel context.CancelFunc)
}

// open runs the operator, hands its stream to read, and checks what remains. It
// returns the peak of the reservations.
func (t *trial) open(name string, s setup, read func(ctx context.Context, out dataflow.Stream)) int64 {
	peak := &peakAllocator{}
	mem := memory.NewCheckedAllocator(peak)
	ctx, cancel := context.WithCancel(compute.WithAllocator(t.ctx, mem))
	defer cancel()
	env := dataflow.NewEnv(ctx)
	env.Alloc, env.Memory, env.BatchRows, env.BatchBytes = mem, dataflow.NewMemory("opstest", s.limit), max(2, s.size), 4<<10
	if s.limit > 0 {
		env.BatchBytes = 512
	}
	spill := &Spill{}
	spill.FailAt(s.failSpill)
	env.Spill = spill
	if s.bytes > 0 {
		env.BatchBytes = s.bytes
	}
	if s.tune != nil {
		s.tune(env, spill, cancel)
	}
	inputs := make([]*slice, len(t.in))
	t.inputs = inputs
	streams := make([]dataflow.Stream, len(t.in))
	for i, b := range t.in {
		inputs[i] = &slice{mem: mem, b: b, size: max(1, s.size), fails: s.failing == i+1, fail: s.at}
		streams[i] = inputs[i]
	}
	out, err := t.op.Open(env, streams...)
	if err == nil {
		if s.cancel {
			cancel()
		}
		read(ctx, out)
		if err := out.Close(); err != nil {
			t.errorf("%s: Close: %v", name, err)
		}
		if err := out.Close(); err != nil {
			t.errorf("%s: a second Close: %v", name, err)
		}
	} else {
		t.errorf("%s: Open: %v", name, err)
	}
	for i, in := range inputs {
		if !in.closed {
			t.errorf("%s: input %d is still open after Close", name, i)
		}
	}
	if n := env.Memory.Used(); n != 0 {
		t.errorf("%s: %d bytes are still reserved after Close", name, n)
	}
	if n := spill.Live(); n != 0 {
		t.errorf("%s: %d spilled runs remain after Close", name, n)
	}
	if n := mem.CurrentAlloc(); n != 0 {
		t.errorf("%s: %d bytes of Arrow memory remain after Close", name, n)
	}
	if s.spills && spill.Made() == 0 {
		t.errorf("%s: nothing was spilled with %d bytes of memory", name, s.limit)
	}
	if s.limit > 0 && s.tune == nil {
		var all int64
		for _, b := range t.in {
			all += order.BatchBytes(b)
		}
		if peak.peak > s.limit+all/2 {
			t.errorf("%s: %d bytes of Arrow memory at once with a limit of %d, for %d bytes of input", name, peak.peak, s.limit, all)
		}
	}
	return env.Memory.Peak()
}

// peakAllocator remembers the most that was allocated at once. An operator's own
// goroutines may allocate too.
type peakAllocator struct {
	memory.GoAllocator
	mu         sync.Mutex
	used, peak int64
}

func (p *peakAllocator) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used += int64(n)
	p.peak = max(p.peak, p.used)
}

func (p *peakAllocator) Allocate(n int) []byte {
	p.add(n)
	return p.GoAllocator.Allocate(n)
}

func (p *peakAllocator) Reallocate(n int, b []byte) []byte {
	p.add(n - len(b))
	return p.GoAllocator.Reallocate(n, b)
}

func (p *peakAllocator) Free(b []byte) {
	p.add(-len(b))
	p.GoAllocator.Free(b)
}

// collect reads rows until an error, which may be io.EOF, and asks again for it.
func (t *trial) collect(ctx context.Context, name string, s setup, out dataflow.Stream) ([]string, error) {
	var rows []string
	for n := 0; s.stopAfter == 0 || n < s.stopAfter; n++ {
		b, err := out.Next(ctx)
		if err != nil {
			for range 2 {
				if b, again := out.Next(ctx); again == nil || (err == io.EOF) != (again == io.EOF) {
					t.errorf("%s: %v is followed by %v: an end is final", name, err, again)
					if again == nil {
						b.Release()
					}
				}
			}
			return rows, err
		}
		if b.NumRows() == 0 {
			t.errorf("%s: an empty batch", name)
		}
		if !b.Schema().Equal(t.schema) {
			t.errorf("%s: a batch of schema %s, not %s", name, b.Schema(), t.schema)
		}
		rows = append(rows, Rows(b)...)
		b.Release()
	}
	return rows, nil
}

func (t *trial) whole(name string, s setup) int64 {
	return t.open(name, s, func(ctx context.Context, out dataflow.Stream) {
		got, err := t.collect(ctx, name, s, out)
		if err != io.EOF {
			t.errorf("%s: %v", name, err)
			return
		}
		t.compare(name, got)
	})
}

func (t *trial) compare(name string, got []string) {
	if t.unordered {
		slices.Sort(got)
	}
	for i := range max(len(got), len(t.want)) {
		switch {
		case i >= len(got):
			t.errorf("%s: %d rows, want %d; the first that is missing: %s", name, len(got), len(t.want), t.want[i])
		case i >= len(t.want):
			t.errorf("%s: %d rows, want %d; the first too many: %s", name, len(got), len(t.want), got[i])
		case got[i] != t.want[i]:
			t.errorf("%s: row %d is %s, want %s", name, i, got[i], t.want[i])
		default:
			continue
		}
		return
	}
}

func (t *trial) early(size int) {
	t.open("closed unread", setup{size: size}, func(context.Context, dataflow.Stream) {})
	for _, n := range []int{1, 2} {
		t.closed(fmt.Sprintf("closed after %d batches", n), setup{size: size, stopAfter: n})
	}
}

// closed reads some batches only, and not a row after Close.
func (t *trial) closed(name string, s setup) {
	t.open(name, s, func(ctx context.Context, out dataflow.Stream) {
		if _, err := t.collect(ctx, name, s, out); err != nil && err != io.EOF {
			t.errorf("%s: %v", name, err)
		}
		if err := out.Close(); err != nil {
			t.errorf("%s: Close: %v", name, err)
		}
		if b, err := out.Next(ctx); err == nil {
			t.errorf("%s: a batch after Close", name)
			b.Release()
		}
	})
}

func (t *trial) cancelled(size int) {
	s := setup{size: size, cancel: true}
	t.open("cancelled", s, func(ctx context.Context, out dataflow.Stream) {
		if _, err := t.collect(ctx, "cancelled", s, out); !errors.Is(err, context.Canceled) && !t.stopsEarly {
			t.errorf("cancelled: the error is %v", err)
		}
	})
}

func (t *trial) failing(name string, s setup, cause error) {
	t.open(name, s, func(ctx context.Context, out dataflow.Stream) {
		got, err := t.collect(ctx, name, s, out)
		if err == io.EOF && t.stopsEarly {
			t.compare(name, got)
			return
		}
		if !errors.Is(err, cause) {
			t.errorf("%s: the error is %v, not %v", name, err, cause)
		}
	})
}
