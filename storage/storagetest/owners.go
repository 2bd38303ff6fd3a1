package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/divisi-data/divisi/storage"
	"golang.org/x/sync/errgroup"
)

func removeTakesAttempts(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name := prefix + "/out/part-0"
	s, err := sealed(storage.WithOwner(ctx, "job"), fs, name, noise(1, 100))
	if err != nil {
		return err
	}
	other, err := sealed(ctx, fs, prefix+"/output/part-0", noise(2, 100))
	if err != nil {
		return err
	}
	o, err := fs.Create(ctx, name)
	if err != nil {
		return err
	}
	if err := fs.Remove(ctx, prefix+"/out"); err != nil {
		return err
	}
	return errors.Join(
		is("Publish of an attempt whose folder was removed", fs.Publish(ctx, s), storage.ErrGone),
		neverVisible(ctx, fs, o, name),
		fs.Publish(ctx, other),
		lists(ctx, fs, prefix, other.Name),
	)
}

// neverVisible takes an open object whose attempt was removed: it may fail now or
// later, but not become visible.
func neverVisible(ctx context.Context, fs storage.Filesystem, o storage.Object, name string) error {
	if s, err := o.Seal(ctx); err == nil {
		if fs.Publish(ctx, s) == nil {
			return fmt.Errorf("%s: an attempt that was removed while open can be sealed and published", name)
		}
	}
	return missing(ctx, fs, name)
}

func createIfAbsent(ctx context.Context, fs storage.Filesystem, prefix string) error {
	c, ok := storage.As[storage.ConditionalCreator](fs)
	if !ok {
		return nil
	}
	name, empty := prefix+"/out/manifest", prefix+"/out/empty"
	return first(
		func() error { return c.CreateIfAbsent(ctx, name, []byte("one")) },
		func() error { return holds(ctx, fs, name, []byte("one")) },
		func() error {
			return is("CreateIfAbsent of what is there", c.CreateIfAbsent(ctx, name, []byte("two")), storage.ErrExist)
		},
		func() error {
			return is("CreateIfAbsent of the same again", c.CreateIfAbsent(ctx, name, []byte("one")), storage.ErrExist)
		},
		func() error { return holds(ctx, fs, name, []byte("one")) },
		func() error { return c.CreateIfAbsent(ctx, empty, nil) },
		func() error { return holds(ctx, fs, empty, nil) },
		func() error { return lists(ctx, fs, prefix, empty, name) },
		func() error { return fs.Remove(ctx, name) },
		func() error { _, err := put(ctx, fs, name, []byte("published")); return err },
		func() error {
			return is("CreateIfAbsent of what is published", c.CreateIfAbsent(ctx, name, nil), storage.ErrExist)
		},
		func() error { return holds(ctx, fs, name, []byte("published")) },
	)
}

func createRaced(ctx context.Context, fs storage.Filesystem, prefix string) error {
	c, ok := storage.As[storage.ConditionalCreator](fs)
	if !ok {
		return nil
	}
	for round := range 10 {
		name := fmt.Sprintf("%s/out/%d/manifest", prefix, round)
		var g errgroup.Group
		var winner atomic.Int64
		start := make(chan struct{})
		for i := range int64(8) {
			g.Go(func() error {
				<-start
				err := c.CreateIfAbsent(ctx, name, fmt.Append(nil, "writer ", i+1))
				if err == nil {
					if w := winner.Swap(i + 1); w != 0 {
						return fmt.Errorf("writers %d and %d both created %s", w, i+1, name)
					}
					return nil
				}
				return is("CreateIfAbsent that lost", err, storage.ErrExist)
			})
		}
		close(start)
		if err := g.Wait(); err != nil {
			return err
		}
		if winner.Load() == 0 {
			return fmt.Errorf("nobody created %s", name)
		}
		if err := holds(ctx, fs, name, fmt.Append(nil, "writer ", winner.Load())); err != nil {
			return err
		}
		if err := lists(ctx, fs, name, name); err != nil {
			return err
		}
	}
	return nil
}

func sweep(ctx context.Context, fs storage.Filesystem, prefix string) error {
	sw, ok := storage.As[storage.Sweeper](fs)
	if !ok {
		return nil
	}
	job := storage.WithOwner(ctx, "job-1")
	name := prefix + "/out/deep/er/part-0"
	s, err := sealed(job, fs, name, noise(1, 100))
	if err != nil {
		return err
	}
	open, err := fs.Create(job, name)
	if err != nil {
		return err
	}
	if _, err := open.Write(noise(1, 100_000)); err != nil {
		return err
	}
	done, err := put(job, fs, prefix+"/out/part-1", []byte("published"))
	if err != nil {
		return err
	}
	for range 2 {
		if err := sw.Sweep(ctx, prefix+"/out", "job-1"); err != nil {
			return fmt.Errorf("Sweep: %w", err)
		}
	}
	return errors.Join(
		is("Publish of what was swept", fs.Publish(ctx, s), storage.ErrGone),
		neverVisible(ctx, fs, open, name),
		holds(ctx, fs, done.Name, []byte("published")),
		fs.Publish(ctx, done),
		lists(ctx, fs, prefix, done.Name),
		sw.Sweep(ctx, prefix+"/nothing", "job-1"),
	)
}

func sweepOwners(ctx context.Context, fs storage.Filesystem, prefix string) error {
	sw, ok := storage.As[storage.Sweeper](fs)
	if !ok {
		return nil
	}
	type kept struct {
		s    storage.Sealed
		data []byte
	}
	var keep []kept
	for i, c := range []struct {
		owner, name string
		swept       bool
	}{
		{"job-1", "out/part-0", true}, {"job-1", "out/a/part-0", true}, {"job-1", "out/a/b/c", true},
		{"job-2", "out/part-0", false}, {"job-11", "out/part-1", false}, {"job", "out/part-2", false}, {"", "out/part-3", false},
		{"job/1", "out/part-6", false}, {"JOB-2", "out/part-7", false},
		{"job-1", "output/part-4", false}, {"job-1", "ou", false}, {"job-1", "other/out/part-5", false},
	} {
		data := noise(uint64(i), 50)
		s, err := sealed(storage.WithOwner(ctx, c.owner), fs, prefix+"/"+c.name, data)
		if err != nil {
			return err
		}
		if !c.swept {
			keep = append(keep, kept{s, data})
		}
	}
	if err := sw.Sweep(ctx, prefix+"/out", "job-1"); err != nil {
		return err
	}
	for _, k := range keep {
		if err := fs.Publish(ctx, k.s); err != nil {
			return fmt.Errorf("Sweep took another's: %w", err)
		}
		if err := holds(ctx, fs, k.s.Name, k.data); err != nil {
			return err
		}
	}
	return nil
}

func listAttempts(ctx context.Context, fs storage.Filesystem, prefix string) error {
	l, ok := storage.As[storage.AttemptLister](fs)
	if !ok {
		return nil
	}
	before := time.Now().Add(-time.Hour) // clocks of servers differ
	var open []storage.Object
	var done []storage.Sealed
	for i, c := range []struct {
		owner, name   string
		open, publish bool
	}{
		{"job-1", "out/part-0", false, false}, {"job-1", "out/part-0", true, false}, {"job-1", "out/k=v/part-1", false, false},
		{"JOB/2 ", "out/k=v/part-1", true, false}, {"", "out/part-2", false, false}, {"job-3", "out/part-3", false, true},
		{"job-1", "output/part-0", false, false}, {"job-4", "ou", false, false},
	} {
		owned := storage.WithOwner(ctx, c.owner)
		if c.open {
			o, err := fs.Create(owned, prefix+"/"+c.name)
			if err != nil {
				return err
			}
			if _, err := o.Write(noise(uint64(i), 50)); err != nil {
				return err
			}
			open = append(open, o)
			continue
		}
		s, err := sealed(owned, fs, prefix+"/"+c.name, noise(uint64(i), 50))
		if err != nil {
			return err
		}
		if c.publish {
			if err := fs.Publish(ctx, s); err != nil {
				return err
			}
			done = append(done, s)
		}
	}
	have := func(below string, want ...string) error {
		var got []string
		for a, err := range l.Attempts(ctx, prefix+below) {
			if err != nil {
				return fmt.Errorf("Attempts: %w", err)
			}
			if a.Changed.Before(before) || a.Changed.After(time.Now().Add(time.Hour)) || a.Size != 0 && a.Size != 50 {
				return fmt.Errorf("Attempts: %+v", a)
			}
			got = append(got, a.Owner+" "+strings.TrimPrefix(a.Name, prefix+"/"))
		}
		want = slices.Sorted(slices.Values(want))
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("attempts at or below %s are %q, want %q", prefix+below, got, want)
		}
		return nil
	}
	inside := []string{"job-1 out/part-0", "job-1 out/part-0", "job-1 out/k=v/part-1", "JOB/2  out/k=v/part-1", " out/part-2"}
	for range l.Attempts(ctx, prefix+"/out") { // who looks may stop
		break
	}
	return first(
		func() error { return have("", append(slices.Clone(inside), "job-1 output/part-0", "job-4 ou")...) },
		func() error { return have("/out", inside...) },
		func() error { return have("/out/k=v", inside[2:4]...) },
		func() error { return have("/out/part-2", " out/part-2") },
		func() error { return have("/out/part-3") },
		func() error { return have("/nothing") },
		func() error {
			sw, ok := storage.As[storage.Sweeper](fs)
			if !ok {
				return nil
			}
			for _, owner := range []string{"job-1", "JOB/2 ", ""} {
				if err := sw.Sweep(ctx, prefix+"/out", owner); err != nil {
					return err
				}
			}
			for _, o := range open {
				if err := o.Abort(context.WithoutCancel(ctx)); err != nil {
					return err
				}
			}
			return have("", "job-1 output/part-0", "job-4 ou")
		},
		func() error { return lists(ctx, fs, prefix, done[0].Name) },
	)
}

// longOwners: who has too long a name for a folder is listed by something that Sweep
// knows it by.
func longOwners(ctx context.Context, fs storage.Filesystem, prefix string) error {
	l, ok := storage.As[storage.AttemptLister](fs)
	sw, can := storage.As[storage.Sweeper](fs)
	if !ok || !can {
		return nil
	}
	long, other := strings.Repeat("J", 150), strings.Repeat("J", 151)
	for i, owner := range []string{long, other} {
		if _, err := sealed(storage.WithOwner(ctx, owner), fs, prefix+"/out/part-0", noise(uint64(i), 50)); err != nil {
			return err
		}
	}
	owners := func() (all []string, err error) {
		for a, err := range l.Attempts(ctx, prefix) {
			if err != nil {
				return nil, err
			}
			all = append(all, a.Owner)
		}
		slices.Sort(all)
		return all, nil
	}
	all, err := owners()
	if err != nil {
		return err
	}
	if len(all) != 2 || all[0] == all[1] {
		return fmt.Errorf("of two owners with long names there are attempts of %q", all)
	}
	gone := all[0]
	if f := storage.OwnerFolder(gone); f != storage.OwnerFolder(long) && f != storage.OwnerFolder(other) {
		return fmt.Errorf("%q stands for nobody who wrote", gone)
	}
	if err := sw.Sweep(ctx, prefix+"/out", gone); err != nil {
		return err
	}
	left, err := owners()
	if err == nil && (len(left) != 1 || left[0] != all[1]) {
		err = fmt.Errorf("after a sweep of %q there are attempts of %q, want %q", gone, left, all[1:])
	}
	return err
}

func cancelled(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/out/part-0", noise(1, 100)
	s, err := sealed(ctx, fs, name, data)
	if err != nil {
		return err
	}
	o, err := fs.Create(ctx, prefix+"/out/part-1")
	if err != nil {
		return err
	}
	if _, err := o.Write(data); err != nil {
		return err
	}
	there, err := put(ctx, fs, prefix+"/there", data)
	if err != nil {
		return err
	}

	dead, cancel := context.WithCancel(ctx)
	cancel()
	var errs []error
	refuse := func(what string, err error) {
		errs = append(errs, is(what+" when cancelled", err, context.Canceled))
	}
	_, err = fs.Open(dead, there.Name)
	refuse("Open", err)
	_, err = fs.Create(dead, name)
	refuse("Create", err)
	refuse("Publish", fs.Publish(dead, s))
	refuse("Remove", fs.Remove(dead, there.Name))
	_, err = o.Seal(dead)
	refuse("Seal", err)
	err = nil
	for _, err = range fs.List(dead, prefix) {
		if err != nil {
			break
		}
	}
	refuse("List", err)
	if c, ok := storage.As[storage.ConditionalCreator](fs); ok {
		refuse("CreateIfAbsent", c.CreateIfAbsent(dead, prefix+"/out/manifest", data))
	}
	if st, ok := storage.As[storage.Stater](fs); ok {
		_, err := st.Stat(dead, there.Name)
		refuse("Stat", err)
	}
	if d, ok := storage.As[storage.Discarder](fs); ok {
		refuse("Discard", d.Discard(dead, s))
	}
	if sw, ok := storage.As[storage.Sweeper](fs); ok {
		refuse("Sweep", sw.Sweep(dead, prefix, ""))
	}
	if l, ok := storage.As[storage.AttemptLister](fs); ok {
		err = nil
		for _, err = range l.Attempts(dead, prefix) {
			if err != nil {
				break
			}
		}
		refuse("Attempts", err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return first(
		func() error { return o.Abort(context.WithoutCancel(dead)) },
		func() error { return lists(ctx, fs, prefix, there.Name) },
		func() error { return holds(ctx, fs, there.Name, data) },
		func() error { return fs.Publish(ctx, s) }, // nothing of the above has harmed it
		func() error { return holds(ctx, fs, name, data) },
		func() error { return lists(ctx, fs, prefix, name, there.Name) },
	)
}
