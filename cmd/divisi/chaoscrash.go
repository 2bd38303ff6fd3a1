package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/storage"
)

// A crash is what is killed, and what is done then. Runs have them in turn.
type crash int

const (
	allThenGC    crash = iota // every process, and the journal is lost: divisi gc clears up
	allThenStart              // every process, and the cluster is started again
	oneHost
	oneWorker
	theCoordinator
	crashKinds
)

func (k crash) String() string {
	return [...]string{"all killed, then gc", "all killed, then started again", "a host killed", "a worker killed", "the coordinator killed"}[k]
}

// crashTries is how often a run is made again whose output was whole before its moment came.
const crashTries = 30

// lookEvery is how often it is looked whether anything is written.
const lookEvery = 5 * time.Millisecond

// A crashJob is a copy in one of the layouts.
type crashJob struct {
	layout string
	want   []string
	peace  time.Duration // between the first write and _SUCCESS
	// publish is about how long the last part of that takes, after it was decided.
	publish time.Duration
}

// crashes kills at random moments between the first write of an output and its
// _SUCCESS, every other time after it was decided what is published, and sees that the output is absent or whole, and that nothing else is left
// where outputs are.
func (c *chaosCluster) crashes(ctx context.Context, runs int) error {
	base := c.o.out
	if base == "" {
		base = filepath.Join(c.dir, "out")
	}
	text, err := textFiles(c.text())
	if err != nil {
		return err
	}
	var jobs []*crashJob
	for _, layout := range layouts {
		want, err := copyPlainly(text, layout)
		if err != nil {
			return err
		}
		j := &crashJob{layout: layout, want: want}
		jobs = append(jobs, j)
		for range 2 { // the first time all is cold
			if err := c.crashPeace(ctx, base, j); err != nil {
				return err
			}
		}
		fmt.Fprintf(c.o.app.out, "%s: %.2f s from the first write to _SUCCESS in peace, %.2f s of it to publish\n", layout, j.peace.Seconds(), j.publish.Seconds())
	}
	wrong := 0
	for i := range runs {
		r := rand.New(rand.NewPCG(c.o.seed, uint64(i)))
		// All kinds with all layouts, in fifteen runs.
		kind, j := crash(i%int(crashKinds)), jobs[(i+2*(i/int(crashKinds)))%len(jobs)]
		met := false
		for try := 0; try < crashTries && !met; try++ {
			var bad []string
			var what string
			if met, what, bad, err = c.crashRun(ctx, base, j, kind, r); err != nil {
				return fmt.Errorf("run %d, %s, %v: %w", i+1, j.layout, kind, err)
			}
			if !met && len(bad) == 0 {
				continue
			}
			verdict := "ok"
			if len(bad) > 0 {
				verdict = "WRONG"
				wrong++
				met = true
			}
			fmt.Fprintf(c.o.app.out, "%-5s run %d, %s: %v %s\n", verdict, i+1, j.layout, kind, what)
			for _, b := range bad {
				fmt.Fprintf(c.o.app.out, "      %s\n", console.Plain(b))
			}
		}
		if !met {
			return console.Exitf(console.CheckFailed, "chaos: %d times in turn the output was whole before its moment came", crashTries)
		}
	}
	fmt.Fprintf(c.o.app.out, "%d runs, %d wrong\n", runs, wrong)
	if wrong > 0 {
		return console.Exitf(console.CheckFailed, "chaos: %d of %d runs went wrong", wrong, runs)
	}
	return nil
}

// an output that a run writes.
type crashOutput struct {
	uri  string
	fs   storage.Filesystem
	name string
}

// crashSubmit begins a job and returns when something of its output is written; false if
// that is whole already.
func (c *chaosCluster) crashSubmit(ctx context.Context, base string, j *crashJob) (o crashOutput, id string, writes bool, err error) {
	c.outs++
	o.uri = strings.TrimSuffix(base, "/") + "/run-" + strconv.Itoa(c.outs)
	if o.fs, o.name, err = storage.Resolve(ctx, o.uri); err != nil {
		return o, "", false, err
	}
	cl, err := client.DialPatiently(ctx, c.sup.info().Coordinator)
	if err != nil {
		return o, "", false, err
	}
	defer cl.Close()
	b := binary{here: c.sup.exe, forCluster: c.sup.exe}
	id, err = b.submit(ctx, cl, submitOptions{app: c.o.app, args: []string{copyMark, j.layout, filepath.Join(c.text(), "*.txt"), o.uri}})
	if err != nil {
		return o, "", false, err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		attempts, err := o.attempts(ctx)
		if err != nil || attempts > 0 {
			return o, id, true, err
		}
		if done, err := o.done(ctx); err != nil || done {
			return o, id, false, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return o, id, false, ctx.Err()
		}
	}
}

// crashPeace runs a job without any fault and notes how long it writes.
func (c *chaosCluster) crashPeace(ctx context.Context, base string, j *crashJob) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.limit)
	defer cancel()
	o, id, _, err := c.crashSubmit(ctx, base, j)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := o.decided(ctx); err != nil {
		return err
	}
	decided := time.Now()
	if _, err := c.crashWait(ctx, o, began.Add(c.o.limit)); err != nil {
		return err
	}
	j.peace, j.publish = time.Since(began), time.Since(decided)
	st, err := c.crashEnd(ctx, id)
	if err != nil {
		return err
	}
	bad, err := o.judge(ctx, j.want, st)
	if err == nil && len(bad) > 0 {
		err = console.Exitf(console.CheckFailed, "chaos: a copy goes wrong without any fault: %s", strings.Join(bad, "; "))
	}
	return errors.Join(err, o.remove(ctx))
}

// crashWait waits for a moment; true if the output is whole before it.
func (c *chaosCluster) crashWait(ctx context.Context, o crashOutput, until time.Time) (whole bool, err error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	moment := time.NewTimer(time.Until(until))
	defer moment.Stop()
	for {
		select {
		case <-moment.C:
			return o.done(ctx)
		case <-tick.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if done, err := o.done(ctx); err != nil || done {
			return done, err
		}
	}
}

// crashRun runs a job and kills; met: the moment came in time. what says how far the
// output was, bad what is wrong then.
func (c *chaosCluster) crashRun(ctx context.Context, base string, j *crashJob, kind crash, r *rand.Rand) (met bool, what string, bad []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.limit)
	defer cancel()
	o, id, writes, err := c.crashSubmit(ctx, base, j)
	if err != nil {
		return false, "", nil, err
	}
	began := time.Now()
	after := time.Duration(r.Float64() * float64(j.peace))
	whole := !writes
	if writes && r.IntN(2) == 1 {
		after = time.Duration(r.Float64() * float64(j.publish))
		if whole, err = o.decided(ctx); err != nil {
			return false, "", nil, err
		}
	}
	if !whole {
		if whole, err = c.crashWait(ctx, o, time.Now().Add(after)); err != nil {
			return false, "", nil, err
		}
	}
	var st *pb.JobStatus
	if whole {
		st, err = c.crashEnd(ctx, id)
	} else {
		what, err = o.state(ctx)
		what = fmt.Sprintf("%d ms after the first write, %s", time.Since(began).Milliseconds(), what)
		if err == nil {
			met, st, err = c.crashNow(ctx, base, kind, r, id)
		}
	}
	if err != nil {
		return met, what, nil, err
	}
	if bad, err = o.judge(ctx, j.want, st); err != nil || len(bad) > 0 {
		return met, what, bad, err
	}
	return met, what, nil, o.remove(ctx)
}

// crashNow kills, and does what follows, until nothing is going on any more. The status
// is the job's where it goes on to its end. Not met: there was nobody to kill.
func (c *chaosCluster) crashNow(ctx context.Context, base string, kind crash, r *rand.Rand, id string) (met bool, st *pb.JobStatus, err error) {
	switch kind {
	case allThenGC, allThenStart:
		dir := c.sup.dir
		if err := c.killAll(ctx, r); err != nil {
			return true, nil, err
		}
		if kind == allThenStart {
			if err := c.startIn(ctx, dir, nil); err != nil {
				return true, nil, err
			}
			st, err := c.crashEnd(ctx, id)
			return true, st, err
		}
		quiet := *c.o.app
		quiet.out = io.Discard
		later := func() time.Time { return time.Now().Add(time.Hour) }
		if err := gc(ctx, gcOptions{app: &quiet, places: []string{base}, olderThan: time.Minute, remove: true, now: later}); err != nil {
			return true, nil, err
		}
		return true, nil, c.start(ctx, nil)
	}
	role := map[crash]string{oneHost: chaos.Host, oneWorker: chaos.Worker, theCoordinator: chaos.Coordinator}[kind]
	s, err := c.hurt.Strike(chaos.Fault{Kind: chaos.Kill, Role: role, Pick: r.Float64()})
	if err != nil {
		return false, nil, err
	}
	st, err = c.crashEnd(ctx, id)
	return s.Victim != "", st, err
}

// killAll kills every process of the cluster, in any order, and returns when all are gone.
func (c *chaosCluster) killAll(ctx context.Context, r *rand.Rand) error {
	hosts, err := chaos.Hosts(c.hurt.Dir)
	if err != nil {
		return err
	}
	all := slices.Concat(hosts, c.hurt.Processes())
	r.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	for _, p := range all {
		syscall.Kill(p.PID, syscall.SIGKILL)
	}
	c.sup.end() // before it starts anything again
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for { // a host may have been begun just now
		hosts, err := chaos.Hosts(c.hurt.Dir)
		if err != nil || len(hosts) == 0 {
			return errors.Join(err, c.close())
		}
		for _, h := range hosts {
			syscall.Kill(h.PID, syscall.SIGKILL)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// crashEnd follows a job to its end.
func (c *chaosCluster) crashEnd(ctx context.Context, id string) (*pb.JobStatus, error) {
	cl, err := client.DialPatiently(ctx, c.sup.info().Coordinator)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	st, err := cl.Wait(ctx, id)
	if err == nil {
		err = console.Outcome(st)
	}
	if err == nil && !st.GetCleaned() {
		err = errors.New("the job has ended and was not cleaned up")
	}
	return st, err
}

// attempts is how many there are, or one of them.
func (o crashOutput) attempts(ctx context.Context) (n int, err error) {
	lister, ok := storage.As[storage.AttemptLister](o.fs)
	if !ok {
		return 0, fmt.Errorf("%s: %w: attempts cannot be listed", o.uri, storage.ErrUnsupported)
	}
	for _, err := range lister.Attempts(ctx, o.name) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func (o crashOutput) done(ctx context.Context) (bool, error) {
	_, err := storage.Stat(ctx, o.fs, o.name+"/_SUCCESS")
	if errors.Is(err, storage.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// decided waits until it is decided what is published; true if the output is whole then.
func (o crashOutput) decided(ctx context.Context) (whole bool, err error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		decided := false
		for info, err := range o.fs.List(ctx, o.name) {
			if err != nil {
				return false, err
			}
			decided = decided || strings.HasPrefix(info.Name, o.name+"/_manifest-")
			whole = whole || info.Name == o.name+"/_SUCCESS"
		}
		if decided || whole {
			return whole, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// state says how far an output is.
func (o crashOutput) state(ctx context.Context) (string, error) {
	attempts, err := o.attempts(ctx)
	if err != nil {
		return "", err
	}
	visible := 0
	decided := false
	for info, err := range o.fs.List(ctx, o.name) {
		if err != nil {
			return "", err
		}
		visible++
		decided = decided || strings.HasPrefix(info.Name, o.name+"/_manifest-")
	}
	if decided {
		return fmt.Sprintf("while it was published: %d files, %d attempts", visible, attempts), nil
	}
	return fmt.Sprintf("while it was written: %d attempts", attempts), nil
}

// judge says what is wrong with an output when nothing goes on any more: it has to be
// absent or whole, and whole if its job has ended well, and nobody may have begun
// anything beside it.
func (o crashOutput) judge(ctx context.Context, want []string, st *pb.JobStatus) (bad []string, err error) {
	done, err := o.done(ctx)
	if err != nil {
		return nil, err
	}
	if !done && st != nil {
		bad = append(bad, "the job has ended, and there is no _SUCCESS")
	}
	var lines []string
	for info, err := range o.fs.List(ctx, o.name) {
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(info.Name, o.name+"/")
		base := name[strings.LastIndexByte(name, '/')+1:]
		switch {
		case name == "_SUCCESS":
		case !done, !strings.HasPrefix(base, "part-"):
			bad = append(bad, "left over: "+name)
		default:
			b, err := o.read(ctx, info)
			if err != nil {
				return nil, err
			}
			lines = chaos.AppendLines(lines, name, b)
		}
	}
	slices.Sort(lines)
	if d := chaos.Compare(lines, want); done && d != "" {
		bad = append(bad, "the output: "+d)
	}
	left, err := files.FindLeftovers(ctx, o.uri)
	for _, l := range left {
		bad = append(bad, fmt.Sprintf("left over: %d attempts and %q of job %s", l.Attempts, l.Commits, l.Job))
	}
	return bad, err
}

func (o crashOutput) read(ctx context.Context, info storage.Info) ([]byte, error) {
	f, err := o.fs.Open(ctx, info.Name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, info.Size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

func (o crashOutput) remove(ctx context.Context) error { return o.fs.Remove(ctx, o.name) }
