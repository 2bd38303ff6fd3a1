package terasort

import (
	"io"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// TestRun runs all of it, small.
func TestRun(t *testing.T) {
	if race.Short() {
		t.Skip("builds programs")
	}
	t.Chdir("../..")
	r, err := Run(t.Context(), Options{Work: t.TempDir(), Bytes: 2_000_000, Memory: 64, Runs: 1, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Rows[0].Contenders {
		if !c.Checked || c.Error != "" || len(c.Seconds) != 1 {
			t.Errorf("%s: %+v", c.Name, c)
		}
	}
}
