package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/divisi-data/divisi/internal/faultproxy"
)

// A Kind of fault.
type Kind string

// What can be done to a cluster.
const (
	Kill   Kind = "kill"   // SIGKILL
	Stop   Kind = "stop"   // SIGSTOP, and after a while SIGCONT
	Link   Kind = "link"   // a fault on a worker's connection to the coordinator
	Peers  Kind = "peers"  // a fault on what others fetch from a worker
	Delete Kind = "delete" // a shuffle file is removed
	Flip   Kind = "flip"   // a bit of a shuffle file is turned over
	Full   Kind = "full"   // a disk is full for a while
	Slow   Kind = "slow"   // a worker and its hosts have a fifth of a core for a while
)

// Kinds are all of them.
var Kinds = []Kind{Kill, Stop, Link, Peers, Delete, Flip, Full, Slow}

// asRoot are those that root alone can do.
var asRoot = []Kind{Full, Slow}

// The parts of a cluster that faults are done to.
const (
	Coordinator = "coordinator"
	Worker      = "worker"
	Host        = "host" // a task host
)

// A Fault is one thing that is done to a cluster.
type Fault struct {
	At    time.Duration // since the job was begun
	Kind  Kind
	Role  string        // of the victim: Coordinator, Worker or Host
	Pick  float64       // which of those that there are then, 0 to 1
	Where float64       // place in a file, 0 to 1
	For   time.Duration // how long it stays; 0: for good
	Rules faultproxy.Rules
}

// String says all of it, in a few words.
func (f Fault) String() string {
	s := string(f.Kind)
	if f.Kind == Kill || f.Kind == Stop {
		s += " " + f.Role
	}
	if r := f.Rules.String(); r != "" {
		s += " " + r
	}
	if f.For > 0 {
		s += " for " + f.For.String()
	}
	return fmt.Sprintf("%s at %s", s, f.At)
}

// Options of a schedule.
type Options struct {
	Kinds []Kind        // none: all that do not need root
	Span  time.Duration // faults begin within it
	Every time.Duration // 0: one to three faults anywhere; else one in each such interval
}

// The longest pause is longer than a worker's lease, so that it is given up, and the
// shortest so short that nobody notices.
const (
	pauseLeast = 200 * time.Millisecond
	pauseMost  = 8 * time.Second
	slowLeast  = 10 * time.Second // others have to be compared with it
)

// Plan is the schedule of a seed: the same for the same seed and options.
func Plan(seed uint64, o Options) []Fault {
	if len(o.Kinds) == 0 {
		o.Kinds = slices.DeleteFunc(slices.Clone(Kinds), func(k Kind) bool { return slices.Contains(asRoot, k) })
	}
	r := rand.New(rand.NewPCG(seed, 0xd1715))
	var faults []Fault
	if o.Every > 0 {
		for at := o.Every; at <= o.Span; at += o.Every {
			faults = append(faults, one(r, at, o.Kinds))
		}
		return faults
	}
	for range 1 + r.IntN(3) {
		at := time.Duration(r.Float64() * float64(o.Span)).Round(time.Millisecond)
		faults = append(faults, one(r, at, o.Kinds))
	}
	slices.SortFunc(faults, func(a, b Fault) int { return int(a.At - b.At) })
	return faults
}

func one(r *rand.Rand, at time.Duration, kinds []Kind) Fault {
	f := Fault{At: at, Kind: kinds[r.IntN(len(kinds))], Role: Worker, Pick: r.Float64(), Where: r.Float64()}
	role, long, rule := r.IntN(5), r.Float64(), r.IntN(6)
	pause := pauseLeast + time.Duration(long*long*float64(pauseMost-pauseLeast)) // more short ones than long ones
	pause = pause.Round(time.Millisecond)
	switch f.Kind {
	case Kill, Stop:
		f.Role = []string{Coordinator, Worker, Worker, Host, Host}[role]
		if f.Kind == Stop {
			f.For = pause
		}
	case Link, Peers:
		f.For = pause
		f.Rules = []faultproxy.Rules{
			{Delay: 20 * time.Millisecond, Jitter: 50 * time.Millisecond},
			{Rate: 200_000},
			{Reset: 0.2},
			{DropUp: true},
			{DropDown: true},
			{Refuse: true},
		}[rule]
		if f.Kind == Peers && rule == 5 {
			f.Rules = faultproxy.Rules{Flip: 0.2}
		}
	case Full:
		f.For = pause
	case Slow:
		f.For = slowLeast + pause
	}
	return f
}

// ParseKinds reads names of kinds, separated by commas.
func ParseKinds(text string) ([]Kind, error) {
	var kinds []Kind
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !slices.Contains(Kinds, Kind(name)) {
			return nil, fmt.Errorf("no kind of fault is called %q: there are %v", name, Kinds)
		}
		kinds = append(kinds, Kind(name))
	}
	return kinds, nil
}
