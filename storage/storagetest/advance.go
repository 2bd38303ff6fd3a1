package storagetest

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/divisi-data/divisi/storage"
)

// advances: what may take long says that it gets on.
func advances(ctx context.Context, fs storage.Filesystem, prefix string) error {
	var signs atomic.Int64
	ctx = storage.WithAdvance(ctx, func() { signs.Add(1) })
	silent := func(what string, do func() error) func() error {
		return func() error {
			before := signs.Load()
			if err := do(); err != nil {
				return err
			}
			if signs.Load() == before {
				return fmt.Errorf("%s gives no sign that it gets on", what)
			}
			return nil
		}
	}
	name := prefix + "/out/part-0"
	s, err := sealed(storage.WithOwner(ctx, "job"), fs, name, noise(1, 100))
	if err != nil {
		return err
	}
	return first(
		silent("Publish", func() error { return fs.Publish(ctx, s) }),
		silent("List", func() error { return lists(ctx, fs, prefix, name) }),
		silent("Remove", func() error { return fs.Remove(ctx, name) }),
		silent("Sweep", func() error {
			sw, ok := storage.As[storage.Sweeper](fs)
			if !ok {
				storage.Advance(ctx)
				return nil
			}
			return sw.Sweep(ctx, prefix, "job")
		}),
	)
}
