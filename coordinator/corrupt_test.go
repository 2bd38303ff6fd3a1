package coordinator

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A damaged block: its producer runs again, alone, and it is counted.
func TestDamagedBlock(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 2)
	var producer *divisipb.TaskID // of the block that is damaged
	failed := false
	w.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		id := s.GetId()
		switch {
		case id.GetStage() == 0 && id.GetIndex() == 1 && producer == nil:
			producer = id
		case id.GetStage() == 1 && !failed:
			failed = true
			return &divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: &divisipb.TaskFailure{
				Id: id, ErrorKind: int32(dataflow.InputLost), Message: "checksum", LostInputs: []*divisipb.TaskID{producer}, Corrupt: true,
			}}}
		}
		return succeed(s)
	}
	w.attach(c)
	st := outcome(t, c, submit(t, c))
	succeeded(t, st)
	if n := w.count(0); n != 4 {
		t.Errorf("%d attempts of the first stage, want 3 and one again", n)
	}
	r, err := http.Get("http://" + c.HTTPAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	for _, want := range []string{"divisi_corrupt_inputs_total 1\n", "go_goroutines "} {
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("the metrics do not say %q: %v", want, err)
		}
	}
}
