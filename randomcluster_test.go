package divisi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/race"
)

// A clusterJob is the random job of a seed: its arguments, of which the last is the output,
// and what is wrong with that, "": nothing.
type clusterJob struct {
	name  string
	args  []string
	check func(out string) string
}

// randomJob builds the job of its arguments, in every process that works for it:
// "typed" SEED OUT, or INPUT INPUT OUT SEED for a pipeline.
func randomJob(j *df.Job) {
	if j.Arg(0) == "typed" {
		job, l, r := randomTyped(seedOf(j.Arg(1)))
		made := job.build(df.Read(j, df.FromSlice(l).Splits(5)), df.Read(j, df.FromSlice(r).Splits(2)))
		df.Write(df.Map(made, func(s string) string { return fmt.Sprintf("%q", s) }), df.Text(j.Arg(2)))
		return
	}
	p := newPipeline(nil, rand.New(rand.NewPCG(seedOf(j.Arg(3)), 7)), 400)
	p.build(len(p.steps) - 1)(j)
}

func seedOf(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// randomTyped is the typed job of a seed and its rows, in every other one nine of ten of
// them under one key.
func randomTyped(seed uint64) (job typedJob, l, r []typedRow) {
	rng := rand.New(rand.NewPCG(seed, 13))
	job = allTypedJobs[rng.IntN(len(allTypedJobs))]
	l, r = typedRows(rng, []int{0, 200, 2000}[rng.IntN(3)]), typedRows(rng, []int{0, 1, 40}[rng.IntN(3)])
	for i := range l {
		if seed%4 < 2 && rng.IntN(10) > 0 {
			l[i].Text, l[i].Whole, l[i].Real, l[i].Time = l[0].Text, l[0].Whole, l[0].Real, l[0].Time
		}
	}
	return job, l, r
}

// newClusterJob makes the job of a seed, and its inputs in a folder.
func newClusterJob(t *testing.T, seed uint64, dir, out string) clusterJob {
	if seed%2 == 0 {
		job, l, r := randomTyped(seed)
		return clusterJob{job.name, []string{"typed", strconv.FormatUint(seed, 10), out}, func(out string) string {
			var want []string
			for _, s := range job.want(l, r) {
				want = append(want, fmt.Sprintf("%q", s))
			}
			got := linesInOrder(t, out)
			if !job.ordered {
				slices.Sort(want)
				slices.Sort(got)
			}
			return chaos.Compare(got, want)
		}}
	}
	rng := rand.New(rand.NewPCG(seed, 7))
	p := newPipeline(t, rng, 400)
	var args []string
	for i, in := range p.inputs {
		args = append(args, filepath.Join(dir, fmt.Sprint("in-", seed, "-", i)))
		in.write(t, rng, args[i])
	}
	return clusterJob{"pipeline\n" + p.String(), append(args, out, strconv.FormatUint(seed, 10)), func(out string) string { return p.check(readArrow(t, out)) }}
}

// run runs the job to its end on a cluster, as a client elsewhere would.
func (j clusterJob) run(ctx context.Context, addrs string, partitions int) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	describe := exec.CommandContext(ctx, exe, slices.Concat([]string{"--describe", "--slots", "6", "--partitions", strconv.Itoa(partitions)}, j.args)...)
	var said bytes.Buffer
	describe.Stderr = &said
	text, err := describe.Output()
	if err != nil {
		return fmt.Errorf("%w: %s", err, &said)
	}
	sub, err := client.ParseDescription(text)
	if err != nil {
		return err
	}
	sub.Binary = exe
	c, err := client.DialPatiently(ctx, addrs)
	if err != nil {
		return err
	}
	defer c.Close()
	id, err := c.Submit(ctx, sub)
	if err != nil {
		return err
	}
	st, err := c.Wait(ctx, id)
	if err != nil {
		return err
	}
	return console.Outcome(st)
}

// Random pipelines and typed jobs on a cluster of processes with two coordinators, any
// process of which is killed while they run, give what loops over the rows give, and
// nothing is left over. A seed repeats a job and its faults, as for TestRandomPipelines.
func TestRandomJobsOnACluster(t *testing.T) {
	if race.Enabled {
		t.Skip("a program with the race detector takes too long to start again and again")
	}
	if _, err := os.Stat("/proc/self/cwd"); err != nil {
		t.Skip("processes are found by /proc, which is not here")
	}
	n, from := *seeds, *first
	if n == 0 {
		n = uint64(race.Tries(8, 3, 0))
	}
	if *seed != 0 {
		from, n = *seed, 1
	}
	dir := t.TempDir()
	c := startProcesses(t, filepath.Join(dir, "cluster"))
	for k := from; k < from+n; k++ {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			out := filepath.Join(dir, "out", fmt.Sprint(k))
			if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
				t.Fatal(err)
			}
			job := newClusterJob(t, k, dir, out)
			trial := chaos.Trial{
				Cluster: c.hurt, Output: out, Limit: 3 * time.Minute,
				Faults: chaos.Plan(k, chaos.Options{Kinds: []chaos.Kind{chaos.Kill}, Span: 600 * time.Millisecond}),
				Job:    func(ctx context.Context) error { return job.run(ctx, c.addrs, []int{1, 2, 7}[k%3]) },
				Check:  func() string { return job.check(out) },
			}
			r, err := trial.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.Took.Round(time.Millisecond), r.Strikes)
			if len(r.Wrong) > 0 {
				t.Fatal(errors.New(strings.Join(r.Wrong, "\n")), "\nafter", r.Strikes, "\nrepeat with -run TestRandomJobsOnACluster -seed", k, "\n", job.name)
			}
		})
	}
}
