package ops

import (
	"testing"

	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/dataflow/order"
)

// Keys whose hashes are all alike are told apart, as numbers and as bytes.
func TestTableCollisions(t *testing.T) {
	b := keyed(200, func(i int) int64 { return int64(i) })
	for _, cols := range [][]int{{0}, {0, 1}} {
		k, err := order.Encode(b, orderBy(cols))
		if err != nil {
			t.Fatal(err)
		}
		const hash = 0xabcdef0123456789
		var tab table
		tab.reset(100)
		for r := range 100 { // the other half is not there
			row, slot := tab.find(hash, k, r, k)
			if row >= 0 {
				t.Fatalf("row %d is found as row %d: %s", r, row, opstest.Row(b, r))
			}
			tab.put(slot, hash, int32(r))
		}
		rows, sel, hashes := make([]int32, 200), make([]int32, 200), make([]uint64, 200)
		for i := range hashes {
			sel[i], hashes[i] = int32(i), hash
		}
		tab.findAll(rows, sel, hashes, k, k)
		for r, got := range rows {
			want := int32(r)
			if r >= 100 {
				want = -1
			}
			if got != want {
				t.Fatalf("row %d is found as %d, want %d", r, got, want)
			}
		}
	}
}

// Rows of a task that a hash has chosen by its highest bits, or its lowest, still
// spread over all runs at every level.
func TestScatterSpreads(t *testing.T) {
	b := keyed(1<<15, func(i int) int64 { return int64(i) })
	hashes, err := hashInto(nil, b, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	for name, mine := range map[string]func(h uint64) bool{
		"high": func(h uint64) bool { return h>>59 == 3 },
		"low":  func(h uint64) bool { return h&31 == 3 },
	} {
		for level := range scatterLevels {
			var count [scatterRuns]int
			n := 0
			for _, h := range hashes {
				if mine(h) {
					count[scatterOf(h, level)]++
					n++
				}
			}
			for p, c := range count {
				if c < n/scatterRuns/2 || c > n/scatterRuns*2 {
					t.Errorf("%s bits, level %d: run %d has %d of %d rows", name, level, p, c, n)
				}
			}
		}
	}
}
