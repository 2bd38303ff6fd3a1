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
			if !c.Checked || c.Error != "" || len(c.Seconds) != 1 {
				t.Errorf("%s, %s: %+v", row.Work, c.Name, c)
			}
		}
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		with, without []float64
		want          float64
	}{
		{[]float64{2}, []float64{1}, 50},
		{[]float64{1, 4, 10}, []float64{1, 3, 11}, 0},
		{[]float64{10, 10}, []float64{9, 9.5}, 7.5},
		{[]float64{3, 3, 3}, []float64{2, 2, 2}, 33.33},
		{nil, nil, 0},
	} {
		if got := percent(c.with, c.without); got != c.want {
			t.Errorf("%v without %v: %v, want %v", c.with, c.without, got, c.want)
		}
	}
}
