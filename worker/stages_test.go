package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// runAll carries out the whole plan of the job that was told, one task after the
// other, and returns the counters of all tasks together, with rowsWhole.
func (c *cluster) runAll() map[string]int64 {
	c.t.Helper()
	p := c.plan
	splits := make([][]*pb.Split, len(p.Sources))
	for i := range p.Sources {
		spec := c.control(pb.TaskKind_TASK_KIND_SPLITS)
		spec.Target = int32(i)
		splits[i] = c.mustRun(spec).Splits
	}
	for i := range p.Sinks {
		spec := c.control(pb.TaskKind_TASK_KIND_PREPARE)
		spec.Target = int32(i)
		c.send(&pb.ToWorker{Body: &pb.ToWorker_JobUpdate{JobUpdate: &pb.JobUpdate{Job: c.job.Id, Prepared: map[int32][]byte{int32(i): c.mustRun(spec).Prepared}}}})
	}
	blocks := make([][]*pb.BlockLocation, len(p.Exchanges))
	receipts := make([][][]byte, len(p.Sinks))
	counters := map[string]int64{}
	for _, s := range p.Stages {
		versions := map[int32]int64{}
		for _, in := range s.Inputs {
			if x := in.Exchange; x >= 0 {
				versions[int32(x)] = int64(len(blocks[x])) // 0 where no task ran
			}
		}
		for i, spec := range c.tasks(s, splits, blocks) {
			spec.Id, spec.Kind, spec.ExchangeVersions = c.id(s.ID, i), pb.TaskKind_TASK_KIND_RUN, versions
			spec.Part = int32(s.Output.PartBase + i)
			r := c.mustRun(spec)
			for k, n := range r.Counters {
				counters[k] += n
			}
			for i, op := range s.Ops {
				if op.Input >= 0 && s.Inputs[op.Input].Mode == plan.Whole {
					counters[rowsWhole] += r.Ops[i].Rows
				}
			}
			if x := s.Output.Exchange; x >= 0 {
				at := &pb.BlockLocation{Task: r.Id, Worker: c.w.ID(), Address: c.w.Addr()}
				blocks[x] = append(blocks[x], at)
				c.send(&pb.ToWorker{Body: &pb.ToWorker_Locations{Locations: &pb.Locations{Job: c.job.Id, Exchange: int32(x), Version: int64(len(blocks[x])), Blocks: []*pb.BlockLocation{at}}}})
				continue
			}
			receipts[s.Output.Sink] = append(receipts[s.Output.Sink], r.Receipt)
		}
	}
	for _, kind := range []pb.TaskKind{pb.TaskKind_TASK_KIND_PUBLISH, pb.TaskKind_TASK_KIND_CLEAN} {
		for i := range p.Sinks {
			spec := c.control(kind)
			spec.Target, spec.Receipts = int32(i), receipts[i]
			c.mustRun(spec)
		}
	}
	return counters
}

// rowsWhole counts the rows that tasks read of inputs that all tasks of a stage read.
const rowsWhole = "rows read whole"

// tasks are the tasks of a stage.
func (c *cluster) tasks(s plan.Stage, splits [][]*pb.Split, blocks [][]*pb.BlockLocation) []*pb.TaskSpec {
	var specs []*pb.TaskSpec
	for _, in := range s.Inputs {
		switch in.Mode {
		case plan.BySplit:
			for _, sp := range splits[in.Source] {
				specs = append(specs, &pb.TaskSpec{Split: sp})
			}
		case plan.ByForward:
			for _, b := range blocks[in.Exchange] {
				specs = append(specs, &pb.TaskSpec{ForwardStage: b.Task.Stage, ForwardIndex: b.Task.Index})
			}
		case plan.ByPartition:
			for i := range int32(c.plan.Exchanges[in.Exchange].Partitions) {
				specs = append(specs, &pb.TaskSpec{PartitionLo: i, PartitionHi: i + 1})
			}
		default:
			continue
		}
		return specs
	}
	return []*pb.TaskSpec{{}} // reads all inputs whole
}

// lines are those of all parts of an output, in order.
func lines(t *testing.T, out string) []string {
	t.Helper()
	parts, err := filepath.Glob(filepath.Join(out, "part-*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(parts)
	var all []string
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Collect(strings.Lines(string(b)))...)
	}
	if _, err := os.Stat(filepath.Join(out, "_SUCCESS")); err != nil {
		t.Error(err)
	}
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], "\n")
	}
	return all
}

// A sample, a partitioning by range, and a sort: the output is in order over its parts.
func TestSortedByRange(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("sorted", plan.Options{Partitions: 4, Check: true}, c.out)
	if !slices.ContainsFunc(c.plan.Stages, func(s plan.Stage) bool { return s.Output.Sample >= 0 }) {
		t.Fatal("no stage partitions by a sample")
	}
	c.runAll()
	got := lines(t, c.out)
	if len(got) != 5000 {
		t.Fatalf("%d lines, want 5000", len(got))
	}
	for i, l := range got {
		if l != strconv.Itoa(i) {
			t.Fatalf("line %d is %s", i, l)
		}
	}
}

func TestSidesCachesJoinsAndTwoSinks(t *testing.T) {
	c := start(t, "", false)
	second := c.out + "-numbers"
	c.tellJob("everything", plan.Options{Partitions: 3, Check: true}, c.out, second)
	if n := c.runAll()["seen"]; n != 1200 {
		t.Errorf("the counter says %d, want 1200: the cache is made once", n)
	}
	var want, wantNumbers []string
	for k := range 10 {
		want = append(want, fmt.Sprintf("%d: 120 times, sum %d", k, 120*(0+1+2)))
	}
	for n := range 1200 {
		wantNumbers = append(wantNumbers, strconv.Itoa(n))
	}
	for _, o := range []struct {
		out  string
		want []string
	}{{c.out, want}, {second, wantNumbers}} {
		got := lines(t, o.out)
		slices.Sort(got)
		slices.Sort(o.want)
		if !slices.Equal(got, o.want) {
			t.Errorf("%s holds %d lines:\n%v\nwant %v", o.out, len(got), got, o.want)
		}
	}
}

// The tasks of a host read the right side of a broadcast join once between them.
func TestBroadcastIsReadOnce(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("broadcast", plan.Options{Partitions: 2, Check: true}, c.out)
	if n := c.runAll()[rowsWhole]; n != 40 {
		t.Errorf("%d rows of the right side were read, want 40", n)
	}
	got := lines(t, c.out)
	var want []string
	for n := range 40 {
		want = append(want, strconv.Itoa(n))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("joined are %v, want %v", got, want)
	}
}

// A source without splits runs no task; who reads its exchange is not to wait for it.
func TestNoInput(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("none", plan.Options{Partitions: 2, Check: true}, c.out)
	c.runAll()
	if got := lines(t, c.out); len(got) != 0 {
		t.Errorf("out of nothing came %v", got)
	}
}

// Many splits come in several messages, told in one go once all are known.
func TestManySplits(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("splits", plan.Options{Partitions: 2}, c.out)
	spec := c.control(pb.TaskKind_TASK_KIND_SPLITS)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: spec}}})
	next := 0
	for more := true; more; {
		r := c.next().GetResult()
		if r == nil {
			t.Fatal("something else than the splits came")
		}
		for _, s := range r.Splits {
			if s.Id != strconv.Itoa(next) {
				t.Fatalf("split %s came where %d was next", s.Id, next)
			}
			next++
		}
		more = r.More
	}
	if next != 2500 {
		t.Errorf("%d splits, want 2500", next)
	}
	// Unacknowledged, all of it is told again.
	c.stop()
	again := newFake(t, c.addr, 8)
	again.await()
	n := 0
	for _, r := range again.register.UnackedResults {
		n += len(r.Splits)
	}
	if n != 2500 || len(again.register.Running) != 0 {
		t.Errorf("after a reconnection %d splits are told and %d tasks run", n, len(again.register.Running))
	}
}

func TestOldLogsGo(t *testing.T) {
	c := start(t, text, false)
	logs := filepath.Join(c.dir, "worker", "logs")
	for i := range logsKept + 3 {
		dir := filepath.Join(logs, fmt.Sprintf("old-%d", i))
		at := time.Unix(int64(1000+i), 0)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "0-0.1.log"), nil, 0o600), os.Chtimes(dir, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS))
	c.endJob(false)
	left, err := os.ReadDir(logs)
	if err != nil || len(left) != logsKept {
		t.Errorf("logs of %d jobs are kept, want %d; %v", len(left), logsKept, err)
	}
	for name, want := range map[string]bool{"old-3": false, "old-4": true, c.job.Id: true} {
		if _, err := os.Stat(filepath.Join(logs, name)); (err == nil) != want {
			t.Errorf("the logs of %s are kept: %v, want %v", name, err == nil, want)
		}
	}
}

// files are all below a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, p)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}
