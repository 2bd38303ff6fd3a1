package files

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// unclearing notes how much it was asked for that need not be cleared.
type unclearing struct {
	memory.Allocator
	asked *int
}

func (u unclearing) Uncleared() memory.Allocator { return uncleared{u} }

type uncleared struct{ unclearing }

func (u uncleared) Allocate(n int) []byte {
	*u.asked += n
	return u.Allocator.Allocate(n)
}

// A bound holds for memory that is not cleared too, which is asked for as such.
func TestBoundedUncleared(t *testing.T) {
	var asked int
	env := dataflow.NewEnv(t.Context())
	env.Alloc = unclearing{memory.DefaultAllocator, &asked}
	mem := Bounded(env)
	dataflow.NewBuffer(mem, 1000).Release()
	if asked < 1000 {
		t.Errorf("%d bytes were asked for that need not be cleared, want 1000", asked)
	}
	defer func() {
		if recover() == nil {
			t.Error("more than any file needs is given")
		}
	}()
	dataflow.NewBuffer(mem, allocationMax+1)
}
