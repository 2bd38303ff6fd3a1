package divisi_test

import (
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

// A storage that the program does not know is said at once, for inputs and outputs:
// it will not be known at the next attempt either.
func TestUnknownStorage(t *testing.T) {
	for _, paths := range [][]string{{"foo://host/in", t.TempDir() + "/out"}, {"mem://none/in", "foo://host/out"}} {
		sum, err := divisi.Run(t.Context(), func(j *df.Job) {
			if strings.HasPrefix(j.Arg(0), "mem:") {
				df.Write(df.Read(j, df.FromSlice([]string{"a"})), df.Text(j.Arg(1)))
			} else {
				df.Write(df.Read(j, df.Lines(j.Arg(0))), df.Text(j.Arg(1)))
			}
		}, paths, divisi.TempDir(t.TempDir()))
		if err == nil || !strings.Contains(err.Error(), "foo://: no driver of this scheme is linked in (have file, ") || sum.State != "failed" || sum.Retries != 0 {
			t.Errorf("%q: %v after %d retries, state %q", paths, err, sum.Retries, sum.State)
		}
	}
}
