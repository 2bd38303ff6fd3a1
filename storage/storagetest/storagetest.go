// Package storagetest is the suite that every storage driver passes. A driver's
// own test is a few lines:
//
//	func TestSuite(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) (storage.Filesystem, string) {
//			return mem.New(), "top"
//		}, storagetest.Has[storage.Sweeper]())
//	}
//
// The checks are plain functions that return an error, so that the suite itself
// can be tried on filesystems that misbehave. They keep below the prefix they are
// given, and never have an object and another below its name.
package storagetest

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/divisi-data/divisi/storage"
)

// A Check is one promise of the storage package. Run tries it on a filesystem,
// below a prefix that holds nothing, and says how it was broken. It returns nil
// without more where the promise is about an ability that fs lacks.
type Check struct {
	Name string
	Run  func(ctx context.Context, fs storage.Filesystem, prefix string) error
}

// Checks is the whole suite, in order from simple to involved.
func Checks() []Check {
	return []Check{
		{"write and read", writeAndRead},
		{"empty object", emptyObject},
		{"reads at the edges", readEdges},
		{"pieces of all sizes", pieces},
		{"large object read by many", largeObject},
		{"receipt", receipt},
		{"unpublished is invisible", unpublishedIsInvisible},
		{"publish replaces", publishReplaces},
		{"publish again", publishAgain},
		{"publish at once", publishAtOnce},
		{"publish what is gone", publishGone},
		{"publish what was replaced", publishReplaced},
		{"two attempts", twoAttempts},
		{"abort", abort},
		{"end once", endOnce},
		{"many writers", manyWriters},
		{"what is not there", notThere},
		{"list order", listOrder},
		{"list cuts at slashes", listCuts},
		{"list stops", listStops},
		{"list folder", listFolder},
		{"stat", stat},
		{"remove", remove},
		{"remove takes attempts", removeTakesAttempts},
		{"create if absent", createIfAbsent},
		{"create if absent, raced", createRaced},
		{"sweep", sweep},
		{"sweep is its owner's", sweepOwners},
		{"advances", advances},
		{"list attempts", listAttempts},
		{"long owners", longOwners},
		{"odd names", oddNames},
		{"cancelled", cancelled},
	}
}

// An Option changes what Run asks for.
type Option func(t *testing.T, fs storage.Filesystem)

// Has demands an ability, so that a driver cannot lose one and still pass.
func Has[T any]() Option {
	return func(t *testing.T, fs storage.Filesystem) {
		t.Helper()
		if _, ok := storage.As[T](fs); !ok {
			t.Errorf("the driver is to be a %v and is none", reflect.TypeFor[T]())
		}
	}
}

// Run tries every check as a subtest. open is called once for each and gives a
// filesystem and a prefix on it below which nothing is; what it opens it also
// frees, with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) (fs storage.Filesystem, prefix string), opts ...Option) {
	t.Run("abilities", func(t *testing.T) {
		fs, _ := open(t)
		for _, o := range opts {
			o(t, fs)
		}
	})
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			fs, prefix := open(t)
			if err := c.Run(t.Context(), fs, prefix); err != nil {
				t.Error(err)
			}
		})
	}
}

// first runs steps until one fails.
func first(steps ...func() error) error {
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}
