package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
)

// TestHistories plays the lives in testdata. After every command the records so far are
// replayed into a fresh machine, whose durable state must equal the live one's.
func TestHistories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		h := &history{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			h.t = t
			return h.run(d)
		})
	})
}

type history struct {
	t       *testing.T
	spec    Spec
	job     *Job
	records []Record
	wanted  []Key // in order
	spares  []Want
	asked   []AskCut
	now     Instant
	epoch   uint64
	next    int // worker, round robin
	workers int
}

func (h *history) run(d *datadriven.TestData) string {
	h.now += 1000
	switch d.Cmd {
	case "job":
		*h = history{t: h.t, epoch: 1, workers: 2}
		h.spec = Spec{ID: "j", Plan: parsePlan(h.t, d.Input), Epoch: 1}
		h.job = New(h.spec)
		if err := Check(h.spec.Plan); err != nil {
			return "refused: " + err.Error() + "\n"
		}
		return ""
	case "submit":
		return h.step(Submitted{Slots: num(d, "slots", 4)})
	case "slots":
		return h.step(Slots{num(d, "n", 4)})
	case "splits":
		var splits []dataflow.Split
		for i := range num(d, "n", 1) {
			splits = append(splits, dataflow.Split{ID: fmt.Sprintf("f%d", i), Hosts: list(d, "hosts"), Bytes: int64(num(d, "bytes", 0))})
			if i == 0 && d.HasArg("first") {
				splits[0].Bytes = int64(num(d, "first", 0))
			}
		}
		return h.control(d, Key{StageSplits, num(d, "source", 0)}, &Result{Splits: splits})
	case "prepared":
		return h.control(d, Key{StagePrepare, num(d, "sink", 0)}, &Result{Prepared: []byte("p")})
	case "published":
		return h.control(d, Key{StagePublish, num(d, "sink", 0)}, &Result{})
	case "cleaned":
		return h.control(d, Key{StageClean, num(d, "sink", 0)}, &Result{})
	case "launch": // all that is wanted, or one task
		var out strings.Builder
		for _, k := range slices.Clone(h.wanted) {
			if one := str(d, "task", ""); one == "" || one == k.String() {
				out.WriteString(h.launch(k, str(d, "worker", "")))
			}
		}
		return out.String()
	case "launch-copy":
		w := h.spares[0]
		h.spares = h.spares[1:]
		a := Attempt{w.Key, h.job.NextAttempt()}
		on := str(d, "worker", "w9")
		return fmt.Sprintf("> %s on %s\n", a, on) + h.step(Launched{Attempt: a, Worker: worker(on), Copy: w.Copy})
	case "observe":
		return h.observe(d)
	case "cut", "uncut": // what the attempt says that it has given away, or that it has not
		a := attempt(h.t, str(d, "task", ""))
		e := Answered{Attempt: a, Worker: h.where(d, a)}
		if d.Cmd == "cut" {
			e.Cut = cutOf(d)
		}
		return h.step(e)
	case "moved":
		return h.step(Rehomed{attempt(h.t, str(d, "task", "")), worker(str(d, "worker", "w0")), "addr2"})
	case "adopt":
		return h.step(Adopted{attempt(h.t, str(d, "task", "")), worker(str(d, "worker", "w0"))})
	case "done":
		var out strings.Builder
		for _, name := range list(d, "task") {
			a := attempt(h.t, name)
			out.WriteString(h.step(Done{Attempt: a, Worker: h.where(d, a), Address: "addr", Result: h.result(d, a)}))
		}
		return out.String()
	case "fail":
		a := attempt(h.t, str(d, "task", ""))
		f := Failure{
			Attempt: a, Worker: h.where(d, a), Kind: kind(h.t, str(d, "kind", "transient")), Message: str(d, "message", "it broke"),
			Killed: d.HasArg("killed"), Memory: int64(num(d, "memory", 0)),
		}
		for _, n := range list(d, "lost") {
			f.Lost = append(f.Lost, attempt(h.t, n))
			f.LostAt = append(f.LostAt, str(d, "at", ""))
		}
		return h.step(f)
	case "outputs-lost":
		var e OutputsLost
		for _, n := range list(d, "task") {
			e.Attempts = append(e.Attempts, attempt(h.t, n))
		}
		e.Why = "gone"
		return h.step(e)
	case "worker-lost":
		return h.step(WorkerLost{worker(str(d, "worker", "w0")), "its stream broke"})
	case "cancel":
		return h.step(Cancel{"by hand"})
	case "gone":
		return h.step(Gone{HostsOnly: d.HasArg("hosts")})
	case "abandon":
		return h.step(Abandon{"no workers"})
	case "restart": // with cut, the last records never came to the disk
		h.records = h.records[:len(h.records)-num(d, "cut", 0)]
		h.epoch++
		h.wanted, h.spares = nil, nil
		h.job = h.replayed()
		return h.take(h.job.Resume(h.now, h.epoch, num(d, "slots", 4)))
	case "status":
		return h.status()
	case "locations":
		blocks, reset, version := h.job.Locations(num(d, "exchange", 0), int64(num(d, "since", 0)))
		var out strings.Builder
		fmt.Fprintf(&out, "reset=%v version=%d+%d\n", reset, version>>epochShift, version&(1<<epochShift-1))
		for _, b := range blocks {
			fmt.Fprintf(&out, "%s on %s\n", b.Attempt, b.Worker.ID)
		}
		return out.String()
	case "tasks":
		var out strings.Builder
		for _, t := range h.job.stages[num(d, "stage", 0)].tasks {
			fmt.Fprintf(&out, "%s %+v\n", t.key, t.plan)
		}
		return out.String()
	case "receipts":
		return fmt.Sprintf("%s\n", h.job.Receipts(num(d, "sink", 0)))
	}
	h.t.Fatalf("%s: no such command %s", d.Pos, d.Cmd)
	return ""
}

func (h *history) control(d *datadriven.TestData, k Key, r *Result) string {
	var out string
	if slices.Contains(h.wanted, k) {
		out = h.launch(k, str(d, "worker", ""))
	}
	t := h.job.task(k)
	a := Attempt{Key: k}
	if len(t.running) > 0 {
		a.Number = t.running[0].number
	}
	return out + h.step(Done{Attempt: a, Worker: h.where(d, a), Result: r})
}

func (h *history) launch(k Key, w string) string {
	if w == "" {
		w = fmt.Sprintf("w%d", h.next%h.workers)
		if !k.Control() {
			h.next++
		}
	}
	h.wanted = slices.DeleteFunc(h.wanted, func(o Key) bool { return o == k })
	a := Attempt{k, h.job.NextAttempt()}
	return fmt.Sprintf("> %s on %s\n", a, w) + h.step(Launched{Attempt: a, Worker: worker(w)})
}

func (h *history) where(d *datadriven.TestData, a Attempt) Worker {
	if w := str(d, "worker", ""); w != "" {
		return worker(w)
	}
	if t := h.job.task(a.Key); t != nil {
		if i := t.on(a.Number); i >= 0 {
			return t.running[i].worker
		}
	}
	return worker("w0")
}

func (h *history) result(d *datadriven.TestData, a Attempt) *Result {
	r := &Result{RowHash: uint64(num(d, "hash", 7)), Counters: map[string]int64{"rows": 10}, Stats: Stats{RowsIn: 10, RowsOut: 5, WallNanos: int64(num(d, "wall", 0)) * 1e6}}
	for _, b := range list(d, "bytes") {
		n, err := strconv.ParseInt(b, 10, 64)
		if err != nil {
			h.t.Fatal(err)
		}
		r.Bytes = append(r.Bytes, n)
	}
	if d.HasArg("keeps") {
		r.Cut = cutOf(d)
	}
	if h.job.stages[a.Stage].plan.Output.Sink >= 0 {
		r.Receipt = []byte(a.String())
	}
	return r
}

func cutOf(d *datadriven.TestData) *Cut {
	return &Cut{Kept: dataflow.Split{ID: str(d, "keeps", "a"), Bytes: 10}, Rest: dataflow.Split{ID: str(d, "gives", "b"), Bytes: 10}}
}

func (h *history) step(e Event) string { return h.take(h.job.Step(h.now, e)) }

func (h *history) take(actions []Action) string {
	var out strings.Builder
	for _, a := range actions {
		switch a := a.(type) {
		case Journal:
			h.records = append(h.records, a.Record)
		case Want:
			if a.Copy > 0 {
				h.spares = append(h.spares, a)
				break
			}
			if slices.Contains(h.wanted, a.Key) {
				h.t.Errorf("%s is wanted twice", a.Key)
			}
			h.wanted = append(h.wanted, a.Key)
		case AskCut:
			h.asked = append(h.asked, a)
		case Unwant:
			if a.Copy > 0 {
				n := len(h.spares)
				h.spares = slices.DeleteFunc(h.spares, func(w Want) bool { return w.Key == a.Key && w.Copy == a.Copy })
				if len(h.spares) != n-1 {
					h.t.Errorf("copy %d of %s was not wanted", a.Copy, a.Key)
				}
				break
			}
			if !slices.Contains(h.wanted, a.Key) {
				h.t.Errorf("%s was not wanted", a.Key)
			}
			h.wanted = slices.DeleteFunc(h.wanted, func(o Key) bool { return o == a.Key })
		}
		fmt.Fprintln(&out, a)
	}
	live, again := durable(h.job), durable(h.replayed())
	if live != again {
		h.t.Errorf("replayed:\n%s\nlive:\n%s", again, live)
	}
	h.invariants()
	return out.String()
}

// observe reads lines of "ATTEMPT [fraction=F] [rows=N] [bytes=N] [elapsed=D] [waited=D]".
func (h *history) observe(d *datadriven.TestData) string {
	after, err := time.ParseDuration(str(d, "after", "1s"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.now += Instant(after)
	hung, err := time.ParseDuration(str(d, "hung", "5m"))
	if err != nil {
		h.t.Fatal(err)
	}
	e := Observed{Idle: num(d, "idle", 0), Hung: hung}
	for line := range strings.SplitSeq(d.Input, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		p := Progress{Attempt: attempt(h.t, f[0])}
		p.Worker = h.where(d, p.Attempt)
		for _, w := range f[1:] {
			k, v, _ := strings.Cut(w, "=")
			switch k {
			case "fraction":
				p.Fraction, err = strconv.ParseFloat(v, 64)
			case "rows":
				p.Done.RowsIn, err = strconv.ParseInt(v, 10, 64)
			case "bytes":
				p.Done.BytesIn, err = strconv.ParseInt(v, 10, 64)
			case "steps":
				p.Done.Steps, err = strconv.ParseInt(v, 10, 64)
			case "elapsed":
				p.Elapsed, err = time.ParseDuration(v)
			case "waited":
				p.Waited, err = time.ParseDuration(v)
			default:
				h.t.Fatalf("%s: %s", d.Pos, w)
			}
			if err != nil {
				h.t.Fatal(err)
			}
		}
		e.Progress = append(e.Progress, p)
	}
	return h.step(e)
}

func (h *history) replayed() *Job {
	j := New(h.spec)
	for _, r := range h.records {
		if err := j.Replay(0, r); err != nil {
			h.t.Fatal(err)
		}
	}
	return j
}

// durable prints all that a restart must keep.
func durable(j *Job) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v over=%v %q limit=%d attempts=%d retries=%d copies=%d\n", j.state, j.phase == over, j.err, j.limit, j.attempts, j.retries, j.copies)
	for _, s := range j.sources {
		fmt.Fprintf(&b, "source %v %d\n", s.known, len(s.splits))
	}
	for _, s := range j.sinks {
		fmt.Fprintf(&b, "sink %v %q %v %v %q\n", s.ready, s.prepared, s.published, s.cleaned, s.gaveUp)
	}
	for _, s := range j.stages {
		fmt.Fprintf(&b, "stage %v %d of %d failed=%d %+v %v\n", s.planned, s.done, len(s.tasks), s.failed, s.stats, s.counters)
		for _, t := range s.tasks {
			fmt.Fprintf(&b, "  %s %+v %v by %d below %d", t.key, t.plan, j.split(t), t.cutter, t.cutFloor)
			if t.won != nil {
				fmt.Fprintf(&b, " %s %s %s", t.won.Attempt, t.won.Worker, t.won.Address)
			}
			if t.former != nil {
				fmt.Fprintf(&b, " was %s", t.former.Attempt)
			}
			fmt.Fprintf(&b, " %v %d %d %v f=%d k=%d,%d o=%d q=%d %v %d %v %v\n", t.rerun, t.before, t.floor, t.summed, t.failures, t.kills, t.lone, t.ooms, t.requeues, t.ended, t.memory, t.alone, t.exclude)
		}
	}
	for i, x := range j.ex {
		fmt.Fprintf(&b, "exchange %d %v\n", i, x.totals)
	}
	return b.String()
}

// invariants that hold after every step.
func (h *history) invariants() {
	for _, w := range h.spares {
		if t := h.job.task(w.Key); t.spare != w.Copy || t.state != running {
			h.t.Errorf("copy %d of %s is wanted, the task in state %d wants %d", w.Copy, w.Key, t.state, t.spare)
		}
	}
	for i, s := range h.job.stages {
		var n [4]int
		var lost, won int
		for _, t := range s.tasks {
			n[t.state]++
			if t.lost {
				lost++
			}
			if t.won != nil {
				won++
			}
			if (t.state == done) != (t.won != nil) || (t.state == running) != (len(t.running) > 0) {
				h.t.Errorf("task %s: state %d, won %v, %d running", t.key, t.state, t.won != nil, len(t.running))
			}
			if (t.state == wanted) != slices.Contains(h.wanted, t.key) {
				h.t.Errorf("task %s: state %d, but wanted is %v", t.key, t.state, h.wanted)
			}
		}
		if n != [4]int{s.idle, s.wanted, s.running, s.done} || lost != s.lost || won != s.done {
			h.t.Errorf("stage %d counts idle %d wanted %d running %d done %d lost %d, has %v %d", i, s.idle, s.wanted, s.running, s.done, s.lost, n, lost)
		}
	}
}

func (h *history) status() string {
	st := h.job.Status(true)
	var b strings.Builder
	fmt.Fprintf(&b, "%s tasks=%d attempts=%d retries=%d in=%d out=%d counters=%v cleaned=%v", st.State, st.Tasks, st.Attempts, st.Retries, st.RecordsIn, st.RecordsOut, st.Counters, st.Cleaned)
	if st.Error != "" {
		fmt.Fprintf(&b, " error=%q", st.Error)
	}
	if st.GaveUp != "" {
		fmt.Fprintf(&b, " gave-up=%q", st.GaveUp)
	}
	if st.Waiting != "" {
		fmt.Fprintf(&b, " waiting=%q", st.Waiting)
	}
	b.WriteByte('\n')
	for i, s := range st.Stages {
		fmt.Fprintf(&b, "stage %d %s %d/%d running=%d failed=%d\n", i, s.State, s.Done, s.Tasks, s.Running, s.FailedAttempts)
	}
	return b.String()
}

// parsePlan reads "exchange KIND PARTITIONS [fixed]" and "stage MODE:ID... > ex:ID|sink:ID [max=N] [base=N]";
// shared is the mode of partitions that may be shared out.
func parsePlan(t *testing.T, text string) *plan.Plan {
	p := &plan.Plan{Version: plan.Version, Job: "test"}
	grow := func(n, kind int) {
		for kind == 0 && len(p.Sources) <= n {
			p.Sources = append(p.Sources, plan.Source{ID: len(p.Sources), Name: fmt.Sprintf("in%d", len(p.Sources))})
		}
		for kind == 1 && len(p.Sinks) <= n {
			p.Sinks = append(p.Sinks, plan.Sink{ID: len(p.Sinks), Name: fmt.Sprintf("out%d", len(p.Sinks))})
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if f[0] == "exchange" {
			n, _ := strconv.Atoi(f[2])
			x := plan.Exchange{ID: len(p.Exchanges), Fixed: slices.Contains(f, "fixed")}
			x.Kind, x.Partitions = dataflow.ExchangeKind(f[1]), n
			p.Exchanges = append(p.Exchanges, x)
			continue
		}
		s := plan.Stage{ID: len(p.Stages), Name: fmt.Sprintf("s%d", len(p.Stages)), Output: plan.Output{Exchange: -1, Sink: -1, Sample: -1}}
		out := false
		for _, w := range f[1:] {
			if w == ">" {
				out = true
				continue
			}
			k, v, ok := strings.Cut(strings.ReplaceAll(w, "=", ":"), ":")
			n, err := strconv.Atoi(v)
			if !ok || err != nil {
				t.Fatalf("plan line %q: %q", line, w)
			}
			switch {
			case k == "max":
				s.MaxTasks = n
			case k == "base":
				s.Output.PartBase = n
			case out && k == "sink":
				s.Output.Sink = n
				grow(n, 1)
			case out:
				s.Output.Exchange = n
				p.Exchanges[n].Producers = append(p.Exchanges[n].Producers, s.ID)
			case k == "split":
				s.Inputs = append(s.Inputs, plan.Input{Mode: plan.BySplit, Source: n, Exchange: -1})
				grow(n, 0)
			default:
				in := plan.Input{Mode: plan.InputMode(k), Source: -1, Exchange: n}
				if k == "shared" {
					in.Mode, in.Shared = plan.ByPartition, true
				}
				s.Inputs = append(s.Inputs, in)
				p.Exchanges[n].Consumers = append(p.Exchanges[n].Consumers, s.ID)
			}
		}
		p.Stages = append(p.Stages, s)
	}
	return p
}

func worker(id string) Worker { return Worker{id, "i"} }

func attempt(t *testing.T, s string) Attempt {
	var a Attempt
	stage, rest, _ := strings.Cut(s, "/")
	if i := slices.Index(controlNames[:], stage); i > 0 {
		a.Stage = -i
	} else if _, err := fmt.Sscan(stage, &a.Stage); err != nil {
		t.Fatalf("attempt %q: %v", s, err)
	}
	if _, err := fmt.Sscanf(rest, "%d.%d", &a.Index, &a.Number); err != nil {
		t.Fatalf("attempt %q: %v", s, err)
	}
	return a
}

func kind(t *testing.T, s string) dataflow.Kind {
	for k := dataflow.Unknown; k <= dataflow.InputLost; k++ {
		if k.String() == s {
			return k
		}
	}
	t.Fatalf("no kind %q", s)
	return 0
}

func str(d *datadriven.TestData, key, or string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return or
}

func num(d *datadriven.TestData, key string, or int) int {
	n, err := strconv.Atoi(str(d, key, strconv.Itoa(or)))
	if err != nil {
		panic(err)
	}
	return n
}

func list(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}
