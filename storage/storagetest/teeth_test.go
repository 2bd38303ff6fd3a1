package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/faulty"
	"github.com/divisi-data/divisi/storage/mem"
)

// A lie is a filesystem that is wrong in one way, and the name of a check that has to
// see it.
type lie struct {
	wrong, caught string
	fs            func() storage.Filesystem
}

// TestTeeth tries the suite on filesystems that are wrong in one way each. The
// named check must be among those that fail.
func TestTeeth(t *testing.T) {
	bitten := map[string]bool{}
	for _, c := range slices.Concat(bytesLies, publishLies, namesLies, ownersLies) {
		t.Run(c.wrong, func(t *testing.T) {
			for _, check := range Checks() {
				if check.Name != c.caught {
					continue
				}
				err := fails(t.Context(), check, c.fs())
				if err == nil {
					t.Fatalf("check %q does not mind", c.caught)
				}
				bitten[c.caught] = true
				t.Log(err)
				return
			}
			t.Errorf("no check is called %q", c.caught)
		})
	}
	for _, check := range Checks() {
		if !bitten[check.Name] {
			t.Errorf("no filesystem here is caught by check %q: add one", check.Name)
		}
	}
}

// TestNothingRightIsRefused runs the suite over filesystems that keep every promise.
func TestNothingRightIsRefused(t *testing.T) {
	for _, check := range Checks() {
		for what, fs := range map[string]storage.Filesystem{
			"mem":            mem.New(),
			"an idle liar":   &liar{FS: mem.New()},
			"an idle faulty": faulty.Wrap(mem.New(), func(faulty.Op) error { return nil }),
			"no abilities":   struct{ storage.Filesystem }{mem.New()},
		} {
			if err := check.Run(t.Context(), fs, "top"); err != nil {
				t.Errorf("%s on %s: %v", check.Name, what, err)
			}
		}
	}
}

// fails runs a check; ranging over a list that does not stop panics.
func fails(ctx context.Context, check Check, fs storage.Filesystem) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("panic: the list goes on after its reader has stopped")
		}
	}()
	return check.Run(ctx, fs, "top")
}
