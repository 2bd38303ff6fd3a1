package job

import (
	"math/rand/v2"
	"testing"
)

// joined is the tasks of partitions none of which is cut.
func joined(sizes []int64, slots int, least int64) []Planned {
	return coalesce(sizes, (&Job{slots: slots}).wished(sizes, least).tasks, nil)
}

// Neighbouring partitions are joined without a gap, and where files of a size are
// wanted no task is made that has much less to write.
func TestCoalesce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		sizes := make([]int64, 1+rnd.IntN(40))
		var total int64
		for p := range sizes {
			if rnd.IntN(3) > 0 {
				sizes[p] = rnd.Int64N(20 << 20)
			}
			total += sizes[p]
		}
		slots, least := 1+rnd.IntN(8), rnd.Int64N(200<<20)
		all := joined(sizes, slots, least)
		next := 0
		for _, p := range all {
			if p.Lo != next || p.Hi <= p.Lo || p.Split != -1 || p.ForwardStage != -1 {
				t.Fatalf("%v in %d slots: %+v", sizes, slots, all)
			}
			next = p.Hi
		}
		if next != len(sizes) {
			t.Fatalf("%v in %d slots: %+v", sizes, slots, all)
		}
		// A range is closed where that comes nearest to the share: one more than wished
		// for can come of it.
		if most := max(total/max(least, 1), 1) + 1; int64(len(all)) > most {
			t.Fatalf("%d bytes are %d tasks, of at least %d bytes each", total, len(all), least)
		}
	}
	if all := joined([]int64{8 << 20, 8 << 20, 8 << 20}, 4, 0); len(all) != 3 {
		t.Errorf("without a size there are %d tasks, want one for each slot", len(all))
	}
	if all := joined([]int64{8 << 20, 8 << 20, 8 << 20}, 4, 64<<20); len(all) != 1 {
		t.Errorf("of 64 MiB at least there are %d tasks, want 1", len(all))
	}
}
