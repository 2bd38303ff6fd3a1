package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/divisi-data/divisi/storage"
	"golang.org/x/sync/errgroup"
)

func unpublishedIsInvisible(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name := prefix + "/out/sub/part-0"
	o, err := fs.Create(ctx, name)
	if err != nil {
		return err
	}
	unseen := func(when string) error {
		err := errors.Join(missing(ctx, fs, name), missing(ctx, fs, prefix+"/out"), lists(ctx, fs, prefix))
		if err == nil {
			for info, err := range storage.ListFolder(ctx, fs, prefix) {
				return fmt.Errorf("%s: ListFolder yields %q, %v", when, info.Name, err)
			}
			return nil
		}
		return fmt.Errorf("%s: %w", when, err)
	}
	if err := unseen("created"); err != nil {
		return err
	}
	if _, err := o.Write(noise(1, 200_000)); err != nil {
		return err
	}
	if err := unseen("written"); err != nil {
		return err
	}
	s, err := o.Seal(ctx)
	if err != nil {
		return err
	}
	if err := unseen("sealed"); err != nil {
		return err
	}
	if err := fs.Publish(ctx, s); err != nil {
		return err
	}
	return errors.Join(holds(ctx, fs, name, noise(1, 200_000)), lists(ctx, fs, prefix, name))
}

func publishReplaces(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, old, young := prefix+"/o", noise(1, 500), noise(2, 300)
	if _, err := put(ctx, fs, name, old); err != nil {
		return err
	}
	s, err := sealed(ctx, fs, name, young)
	if err != nil {
		return err
	}
	return first(
		func() error { return holds(ctx, fs, name, old) },
		func() error { return fs.Publish(ctx, s) },
		func() error { return holds(ctx, fs, name, young) },
		func() error { return lists(ctx, fs, prefix, name) },
	)
}

func publishAgain(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/out/part-0", noise(1, 500)
	s, err := sealed(ctx, fs, name, data)
	if err != nil {
		return err
	}
	// As it would come out of a journal, in another process.
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	var told storage.Sealed
	if err := json.Unmarshal(text, &told); err != nil {
		return err
	}
	for i, s := range []storage.Sealed{told, s, told} {
		if err := fs.Publish(ctx, s); err != nil {
			return fmt.Errorf("publish no. %d: %w", i+1, err)
		}
		if err := holds(ctx, fs, name, data); err != nil {
			return fmt.Errorf("after publish no. %d: %w", i+1, err)
		}
	}
	return lists(ctx, fs, prefix, name)
}

func publishAtOnce(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/out/part-0", noise(1, 500)
	s, err := sealed(ctx, fs, name, data)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for range 6 {
		g.Go(func() error { return fs.Publish(ctx, s) })
	}
	return errors.Join(g.Wait(), holds(ctx, fs, name, data), lists(ctx, fs, prefix, name))
}

func publishGone(ctx context.Context, fs storage.Filesystem, prefix string) error {
	d, ok := storage.As[storage.Discarder](fs)
	if !ok {
		return nil
	}
	name := prefix + "/out/part-0"
	s, err := sealed(ctx, fs, name, noise(1, 500))
	if err != nil {
		return err
	}
	for range 2 {
		if err := d.Discard(ctx, s); err != nil {
			return fmt.Errorf("Discard: %w", err)
		}
	}
	return errors.Join(
		is("Publish of what was discarded", fs.Publish(ctx, s), storage.ErrGone),
		missing(ctx, fs, name),
	)
}

func publishReplaced(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, second := prefix+"/out/part-0", noise(2, 500)
	s, err := put(ctx, fs, name, noise(1, 500))
	if err != nil {
		return err
	}
	if _, err := put(ctx, fs, name, second); err != nil {
		return err
	}
	return errors.Join(
		is("Publish of what was published and replaced since", fs.Publish(ctx, s), storage.ErrGone),
		holds(ctx, fs, name, second),
	)
}

func twoAttempts(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, won, lost := prefix+"/out/part-0", noise(1, 400), noise(2, 600)
	a, err := fs.Create(ctx, name)
	if err != nil {
		return err
	}
	b, err := fs.Create(ctx, name)
	if err != nil {
		return errors.Join(err, a.Abort(ctx))
	}
	for i := range 2 { // in turns
		if _, err := a.Write(lost[i*300 : i*300+300]); err != nil {
			return err
		}
		if _, err := b.Write(won[i*200 : i*200+200]); err != nil {
			return err
		}
	}
	sa, err := a.Seal(ctx)
	if err != nil {
		return err
	}
	sb, err := b.Seal(ctx)
	if err != nil {
		return err
	}
	if err := fs.Publish(ctx, sb); err != nil {
		return err
	}
	if d, ok := storage.As[storage.Discarder](fs); ok {
		// The winner too: what is published is not discarded any more.
		for _, s := range []storage.Sealed{sa, sa, sb} {
			if err := d.Discard(ctx, s); err != nil {
				return fmt.Errorf("Discard: %w", err)
			}
		}
	}
	return errors.Join(holds(ctx, fs, name, won), lists(ctx, fs, prefix, name), fs.Publish(ctx, sb), holds(ctx, fs, name, won))
}

func abort(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name := prefix + "/out/part-0"
	for _, n := range []int{0, 1, 200_000} {
		o, err := fs.Create(ctx, name)
		if err != nil {
			return err
		}
		if _, err := o.Write(noise(1, n)); err != nil {
			return err
		}
		for range 2 {
			if err := o.Abort(ctx); err != nil {
				return fmt.Errorf("Abort after %d bytes: %w", n, err)
			}
		}
		if _, err := o.Write([]byte("x")); err == nil {
			return errors.New("Write after Abort succeeds")
		}
		if s, err := o.Seal(ctx); err == nil {
			return fmt.Errorf("Seal after Abort gives %+v", s)
		}
	}
	return errors.Join(missing(ctx, fs, name), lists(ctx, fs, prefix))
}

func endOnce(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/o", noise(1, 500)
	o, err := fs.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err := o.Write(data); err != nil {
		return err
	}
	s, err := o.Seal(ctx)
	if err != nil {
		return err
	}
	if _, err := o.Write([]byte("late")); err == nil {
		return errors.New("Write after Seal succeeds")
	}
	_, _ = o.Seal(ctx) // may fail or repeat itself, and harms nothing
	if err := o.Abort(ctx); err != nil {
		return fmt.Errorf("Abort after Seal: %w", err)
	}
	if err := fs.Publish(ctx, s); err != nil {
		return fmt.Errorf("Publish after a second Seal and an Abort: %w", err)
	}
	return holds(ctx, fs, name, data)
}

func manyWriters(ctx context.Context, fs storage.Filesystem, prefix string) error {
	var want []string
	var g errgroup.Group
	for i := range 8 {
		for j := range 4 {
			name := fmt.Sprintf("%s/out/w%d/part-%d", prefix, i, j)
			want = append(want, name)
			g.Go(func() error {
				ctx := storage.WithOwner(ctx, fmt.Sprint("job", i%2))
				lost, err := fs.Create(ctx, name)
				if err != nil {
					return err
				}
				s, err := sealed(ctx, fs, name, []byte(name))
				if err != nil {
					return err
				}
				return errors.Join(lost.Abort(ctx), fs.Publish(ctx, s))
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, name := range want {
		if err := holds(ctx, fs, name, []byte(name)); err != nil {
			return err
		}
	}
	return lists(ctx, fs, prefix, want...)
}
