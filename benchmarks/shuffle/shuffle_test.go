package shuffle

import (
	"io"
	"os/exec"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// TestRun runs all of it, small.
func TestRun(t *testing.T) {
	if race.Short() {
		t.Skip("builds programs")
	}
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip("workers cannot be put on cores: ", err)
	}
	t.Chdir("../..")
	r, err := Run(t.Context(), Options{Work: t.TempDir(), Bytes: 2_000_000, Many: 40, Runs: 1, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	contenders := 0
	for _, row := range r.Rows {
		for _, c := range row.Contenders {
			contenders++
			if !c.Checked || c.Error != "" || len(c.Seconds) != 1 {
				t.Errorf("%s: %+v", c.Name, c)
			}
		}
	}
	if contenders != 5 {
		t.Errorf("%d contenders, want 5", contenders)
	}
}
