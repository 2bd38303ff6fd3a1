//go:build mutants

package sim

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/divisi-data/divisi/internal/mutant"
)

var only = flag.String("mutant", "", "the one mutant to look for")

// within is how many schedules may pass before a mutant is found.
const within = 1000

// mutants are the defects that the simulator must find, and what each breaks.
var mutants = []struct{ name, breaks string }{
	// The shell's.
	{"acknowledged before the sync", "what was acknowledged is gone after a crash"},
	{"given up incarnations are welcome", "results of an incarnation whose tasks have moved"},
	{"given up incarnations are not journalled", "after a restart one of them comes back"},
	{"what a worker left is inherited too late", "a task runs again though its output is there"},
	{"what could not be read is found again", "a damaged output counts again and again"},
	{"incarnations are ignored", "a new process is taken for the one before, with all it had"},
	{"launches that never came are not missed", "a task that is nowhere is waited for"},
	{"only the last part of a result counts", "splits are forgotten, and their rows"},
	{"jobs do not hear of lost workers", "tasks on them are waited for"},
	{"silence is no loss", "a worker without power is waited for"},
	{"lease by wall clock", "a jump of the clock loses workers"},
	{"a waiting launch outlives its job", "a task starts after the cancel is durable"},
	{"locations are told once", "readers wait for what they are never told"},
	{"what a sink prepared is not told", "attempts write without what their sink prepared"},
	{"submits are not recognised", "a submit that is sent again is two jobs"},
	{"snapshots forget winners", "a finished task is not known after a restart"},
	{"winners are not journalled", "a finished task is not known after a restart"},
	{"slots are not given back", "slots leak"},
	{"a copy that is met again is counted twice", "slots leak"},
	{"the end of hosts is not waited for", "attempts write while their output is cleaned"},
	// The life of a job.
	{"no arbiter", "two winners of one task"},
	{"a copy stays wanted", "a task that is done is launched again"},
	{"tasks win after the end", "a winner after the job's end"},
	{"cuts are not journalled", "after a restart a task reads again what another has read"},
	{"attempts at the whole win after a cut", "rows doubled"},
	{"a cut that was not heard of does not count", "rows lost"},
	{"what was given away is read again", "rows doubled"},
	{"second runs are cut", "a second run is compared with a first that has read more"},
	{"strays are not waited for", "an attempt that was cancelled writes after the clean"},
	{"other rows are not noticed", "consumers of two different runs of one task: rows lost or doubled"},
	{"running tasks are not adopted", "a task runs twice after a restart"},
	{"attempt numbers are used again", "two attempts of one name"},
	{"published before all is done", "a part of the output is taken for the whole"},
	{"a failed fetch does not run the producer again", "a reader tries for ever"},
	{"retried for ever", "a task that cannot succeed is tried again and again"},
	{"lost workers count against tasks", "jobs fail for the cluster's faults"},
	{"user errors are tried again", "a bad record is read again and again"},
	{"losses do not cascade", "a lost producer of a lost producer is not run again"},
	{"cancelled while publishing", "a cancelled job with visible output"},
	{"a cancelled job launches", "effects after the cancel"},
	{"clean is skipped", "what attempts left stays"},
	{"success before it is published", "a success without output"},
	{"publishing is not journalled", "parts become visible before the journal knows"},
	{"forward from the wrong producer", "rows doubled and lost"},
	{"joined ranges leave a gap", "rows lost"},
	{"joined ranges overlap", "rows doubled"},
	{"a share is forgotten", "rows lost"},
	{"shares overlap", "rows doubled"},
	{"shares are not journalled", "after a restart each share reads the whole: rows doubled"},
	{"a receipt is forgotten", "a winner is not published"},
	// The scheduler.
	{"a slot too few is freed", "slots leak"},
	{"more is sent than fits", "more tasks on a worker than it has room for"},
	{"control tasks do not wait for a worker", "a job never starts"},
	// Workers, hosts and storage, as they are modelled.
	{"no epoch check", "a coordinator that was replaced is obeyed"},
	{"hosts outlive their job", "attempts write after the clean"},
	{"a new incarnation keeps the tasks of the old", "results of tasks that have moved"},
	{"blocks are not checked", "rows lost by a flipped bit"},
	{"published by listing", "losers are published"},
	{"all inputs are shared out", "rows are joined with a part of those that they should be"},
	{"success is not marked", "an output that never becomes whole"},
}

// TestMutants looks for each mutant until a schedule breaks a promise.
func TestMutants(t *testing.T) {
	defer mutant.Set("")
	for _, m := range mutants {
		if *only != "" && *only != m.name {
			continue
		}
		mutant.Set(m.name)
		var mu sync.Mutex
		found, why := uint64(0), ""
		each(1, within, func(seed uint64, r Result) bool {
			mu.Lock()
			defer mu.Unlock()
			if r.Violation != "" && (found == 0 || seed < found) {
				found, why = seed, r.Violation
			}
			return found > 0
		})
		if found == 0 {
			t.Errorf("NOT FOUND within %d schedules: %s (%s)", within, m.name, m.breaks)
			continue
		}
		t.Logf("%-48s seed %-4d %.150s", m.name, found, why)
	}
}

// TestMutantsAreListed compares the list with the places in the code.
func TestMutantsAreListed(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range mutants {
		if listed[m.name] {
			t.Errorf("%q is listed twice", m.name)
		}
		listed[m.name] = true
	}
	placed := map[string]bool{}
	place := regexp.MustCompile(`mutant\.On\("([^"]+)"\)`)
	for _, dir := range []string{"../../coordinator", "../../coordinator/job", "../../coordinator/sched", "."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range place.FindAllStringSubmatch(string(b), -1) {
				placed[m[1]] = true
				if !listed[m[1]] {
					t.Errorf("%s: mutant %q is not listed", f, m[1])
				}
			}
		}
	}
	for name := range listed {
		if !placed[name] {
			t.Errorf("mutant %q has no place in the code", name)
		}
	}
	if len(placed) < 25 {
		t.Errorf("%d mutants, at least 25 are meant to be", len(placed))
	}
}
