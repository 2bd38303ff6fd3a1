package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/internal/services"
)

// chaosRuns is how many runs each of the tests below makes: few, or as many as
// DIVISI_CHAOS_RUNS says ("make chaos RUNS=N").
func chaosRuns(t *testing.T, few int) string {
	t.Helper()
	text := os.Getenv("DIVISI_CHAOS_RUNS")
	if text == "" {
		if race.Short() {
			few = 1
		}
		return strconv.Itoa(few)
	}
	if n, err := strconv.Atoi(text); err != nil || n < 1 {
		t.Fatalf("DIVISI_CHAOS_RUNS=%s is no number of runs", text)
	}
	return text
}

// runsChaos runs "divisi chaos", which fails if an output is wrong or something is left.
func runsChaos(t *testing.T, args ...string) {
	t.Helper()
	if race.Enabled {
		t.Skip("the processes of these tests are built without the race detector")
	}
	if _, err := os.Stat("/proc/self/cwd"); err != nil {
		t.Skip("processes are found by /proc, which is not here")
	}
	seed := os.Getenv("DIVISI_CHAOS_SEED")
	if seed == "" {
		seed = "1"
	}
	cmd := exec.Command(filepath.Join(bin, "divisi"), append([]string{"chaos", "--seed", seed}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// A SIGKILL of any worker, the coordinator or a task host, at random moments: the
// output is the same each time, and no process and no file is left.
func TestChaosKills(t *testing.T) { runsChaos(t, "--faults", "kill", "--runs", chaosRuns(t, 4)) }

// All kinds of faults that need no special rights.
func TestChaos(t *testing.T) { runsChaos(t, "--runs", chaosRuns(t, 4)) }

// A worker with a fifth of a core from the first moments on, beside two that have what
// is left: what it is slow with goes elsewhere, and the output is the same.
// The time that it took is printed.
func TestChaosSlow(t *testing.T) {
	if err := chaos.CanSlow(); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	runsChaos(t, "--faults", "slow", "--runs", chaosRuns(t, 2), "--job", "chain", "--stages", "8", "--every", "100ms", "--span", "100ms")
}

// A job of many stages, any component of which is killed or stopped again and again. It
// fails too if it ends before the first fault.
func TestChaosManyStages(t *testing.T) {
	stages, every, keys, size := "60", "1500ms", "400000", "8MiB"
	if os.Getenv("DIVISI_CHAOS_RUNS") == "" {
		if race.Short() {
			t.Skip("faults that come again and again need a job of some seconds")
		}
	} else {
		stages, every, keys, size = "100", "5s", "4000000", "64MiB"
	}
	runsChaos(t, "--job", "chain", "--stages", stages, "--keys", keys, "--size", size, "--faults", "kill,stop", "--every", every, "--span", "10m", "--runs", "1")
}

// Outputs in folders of values, and in files of a size, whatever is killed.
func TestChaosLayouts(t *testing.T) {
	if race.Short() {
		t.Skip("two more clusters; make test starts them")
	}
	for _, layout := range layouts[1:] {
		t.Run(layout, func(t *testing.T) {
			runsChaos(t, "--job", layout, "--faults", "kill", "--size", "24MiB", "--runs", chaosRuns(t, 3))
		})
	}
}

// crashArgs are for kills at random moments between the first write of an output and its
// _SUCCESS, with a copy of every task.
func crashArgs(t *testing.T) []string {
	return []string{"--crashes", chaosRuns(t, 5), "--size", "40MiB", "--links=false", "--copy-all", "--limit", "3m"}
}

// Whatever is killed then, the output is absent or whole, and no temporary file is left.
func TestChaosCrashes(t *testing.T) {
	if race.Short() {
		t.Skip("it starts clusters again and again; make test does")
	}
	runsChaos(t, crashArgs(t)...)
}

// The same in S3: no open upload is left either, as the server itself says.
func TestChaosCrashesS3(t *testing.T) {
	s := services.S3(t)
	for _, v := range s.Environ() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	runsChaos(t, append(crashArgs(t), "--out", "s3://"+s.Bucket+"/out")...)
	if keys, uploads := s.Left(t); len(keys)+len(uploads) > 0 {
		t.Errorf("left over: objects %q, open uploads %q", keys, uploads)
	}
}

// Many small jobs, of which a fifth is cancelled and a fifth loses a host: what there is
// of processes, descriptors and files afterwards is what there was before.
func TestChaosLeavesNothing(t *testing.T) {
	jobs := "30"
	if os.Getenv("DIVISI_CHAOS_RUNS") != "" {
		jobs = "1000"
	}
	runsChaos(t, "--leaks", jobs)
}

// Jobs are cancelled at random moments: their processes and files go, in the time that is
// promised, and their outputs are absent or whole.
func TestChaosCancels(t *testing.T) { runsChaos(t, "--cancels", chaosRuns(t, 6)) }
