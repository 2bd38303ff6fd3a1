package durability

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
	r, err := Run(t.Context(), Options{Work: t.TempDir(), Bytes: 1_000_000, Tasks: 20, Runs: 1, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3 {
		t.Fatalf("%d rows", len(r.Rows))
	}
	for _, row := range r.Rows {
		if len(row.Contenders) != len(ways) {
			t.Errorf("%s: %d ways", row.Work, len(row.Contenders))
		}
		for _, c := range row.Contenders {
			runs := 1
			if row.Items > 0 {
				runs = shorter
			}
			if !c.Checked || c.Error != "" || len(c.Seconds) != runs {
				t.Errorf("%s, %s: %+v", row.Work, c.Name, c)
			}
			if (c.Cost != nil) != (c.Name != ways[0].name) || c.Cost != nil && (c.Cost.Wall.Rounds != runs || c.Cost.CPU.Rounds != runs) {
				t.Errorf("%s, %s: cost %+v", row.Work, c.Name, c.Cost)
			}
		}
	}
}
