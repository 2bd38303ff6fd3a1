package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sync/errgroup"

	"github.com/divisi-data/divisi/internal/race"
)

// bin is the folder of the programs that the scripts run: real ones, since a
// cluster starts and uploads them.
var bin string

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	if f := os.Getenv(failpointEnv); f != "" {
		fmt.Fprintln(os.Stderr, failpointCoordinator(f))
		return
	}
	var err error
	if bin, err = os.MkdirTemp("", "divisi-script-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(bin)
	var g errgroup.Group
	for name, pkg := range map[string]string{"divisi": ".", "job": "./testdata/job"} {
		g.Go(func() error {
			cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(bin, name), pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	code = m.Run()
}

func TestScripts(t *testing.T) {
	if race.Enabled {
		t.Skip("the programs that scripts run are built without the race detector")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cache := goEnv(t, "GOCACHE", "GOMODCACHE")
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("BIN", bin)
			e.Setenv("ROOT", root)
			e.Setenv("GOCACHE", cache[0])
			e.Setenv("GOMODCACHE", cache[1])
			e.Setenv("GOFLAGS", "-mod=mod")
			e.Setenv("GOPROXY", "off")
			e.Setenv("XDG_CACHE_HOME", e.WorkDir)
			e.Defer(func() { downAll(e.WorkDir) })
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "cluster": useCluster, "sorted": sorted, "setid": setID,
			"kill9": kill9, "ended": ended9, "until": until,
		},
	})
}

func goEnv(t *testing.T, names ...string) []string {
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// downAll ends what a script has left running.
func downAll(dir string) {
	locks, _ := filepath.Glob(filepath.Join(dir, "*", lockFile))
	for _, l := range locks {
		exec.Command(filepath.Join(bin, "divisi"), "down", "--dir", filepath.Dir(l)).Run()
	}
}

// exits CODE PROGRAM ARGS... runs a program and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want || neg {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// cluster DIR makes the cluster in DIR the one that commands mean.
func useCluster(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("DIVISI_CLUSTER", info(ts, args[0]).Coordinator)
}

func info(ts *testscript.TestScript, dir string) clusterInfo {
	i, err := readCluster(ts.MkAbs(dir))
	ts.Check(err)
	return i
}

// sorted OUT FILE compares an output's lines, sorted, with a file.
func sorted(ts *testscript.TestScript, _ bool, args []string) {
	parts, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "part-*"))
	ts.Check(err)
	var lines []string
	for _, p := range parts {
		lines = append(lines, strings.SplitAfter(ts.ReadFile(p), "\n")...)
	}
	slices.Sort(lines)
	if got, want := strings.Join(lines, ""), ts.ReadFile(args[1]); got != want {
		ts.Fatalf("got\n%swant\n%s", got, want)
	}
	_, err = os.Stat(filepath.Join(ts.MkAbs(args[0]), "_SUCCESS"))
	ts.Check(err)
}

// setid NAME takes the last command's only line of output as a variable.
func setID(ts *testscript.TestScript, _ bool, args []string) {
	id, rest, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	if id == "" || rest != "" || strings.ContainsAny(id, " \t") {
		ts.Fatalf("no single word: %q", ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], id)
}

// kill9 DIR ROLE kills a process of the cluster and waits until cluster.json tells
// of the one that took its place; "kill9 DIR supervisor" kills the supervisor, and
// waits until all it had started have ended.
func kill9(ts *testscript.TestScript, _ bool, args []string) {
	before := info(ts, args[0])
	if args[1] == "supervisor" {
		pid, err := strconv.Atoi(ts.ReadFile(filepath.Join(args[0], lockFile)))
		ts.Check(err)
		ts.Check(syscall.Kill(pid, syscall.SIGKILL))
		eventually(ts, "the processes have ended", func() bool { return !alive(before) })
		return
	}
	i := slices.IndexFunc(before.Processes, func(p processInfo) bool { return p.Role == args[1] })
	ts.Check(syscall.Kill(before.Processes[i].PID, syscall.SIGKILL))
	eventually(ts, "a process of the same role and id is there", func() bool {
		now := info(ts, args[0])
		return now.Coordinator == before.Coordinator && slices.ContainsFunc(now.Processes, func(p processInfo) bool {
			return p.Role == args[1] && p.ID == before.Processes[i].ID && p.PID != before.Processes[i].PID
		})
	})
}

// ended FILE checks that no process that a copy of a cluster.json names is alive.
func ended9(ts *testscript.TestScript, _ bool, args []string) {
	var i clusterInfo
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &i))
	if len(i.Processes) == 0 || alive(i) {
		ts.Fatalf("of %v some are alive", i.Processes)
	}
}

func alive(i clusterInfo) bool {
	return slices.ContainsFunc(i.Processes, func(p processInfo) bool { return syscall.Kill(p.PID, 0) == nil })
}

// until TEXT PROGRAM ARGS... runs a program again and again until its output holds TEXT.
func until(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, strings.Join(args, " "), func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && strings.Contains(ts.ReadFile("stdout"), args[0])
	})
}

func eventually(ts interface{ Fatalf(string, ...any) }, what string, ok func() bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			ts.Fatalf("not within 30 s: %s", what)
		}
	}
}
