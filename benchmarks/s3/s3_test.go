package s3

import (
	"io"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
)

// TestRun runs all of it, small.
func TestRun(t *testing.T) {
	services.S3(t) // or it says why not
	t.Chdir("../..")
	r, err := Run(t.Context(), Options{Work: t.TempDir(), Small: 90, Bytes: []int64{200_000}, Large: 3, Rows: 16_000, Runs: 1, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3 || len(r.Rows[0].Contenders) != 4 {
		t.Fatalf("%+v", r.Rows)
	}
	for _, row := range r.Rows {
		for _, c := range row.Contenders {
			if !c.Checked || c.Error != "" || len(c.Seconds) != 1 || row.Bytes == 0 {
				t.Errorf("%s: %+v", row.Work, c)
			}
		}
	}
}
