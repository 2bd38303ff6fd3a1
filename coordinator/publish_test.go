package coordinator

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// TestPublishOfManyParts: what the winners have to say is more than a message may have,
// and it comes in several.
func TestPublishOfManyParts(t *testing.T) {
	const n, each = 40, 512 << 10
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 4)
	var launches divisipb.Launches
	var got [][]byte
	messages := 0
	w.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		if s.GetKind() == divisipb.TaskKind_TASK_KIND_PUBLISH {
			messages++
			whole := launches.Add(s)
			if whole == nil {
				return nil
			}
			got = whole.GetReceipts()
		}
		a := succeed(s)
		if r := a.GetResult(); len(r.GetReceipt()) > 0 {
			r.Receipt = receipt(int(s.GetPart()), each)
		}
		return a
	}
	w.attach(c)
	r, err := client(t, c).Submit(t.Context(), twoStagesOf(t, n))
	if err != nil {
		t.Fatal(err)
	}
	if st := outcome(t, c, r.GetJob()); st.GetState() != divisipb.JobState_JOB_STATE_SUCCEEDED {
		t.Fatalf("ended %v: %s", st.GetState(), st.GetError())
	}
	if messages < 2 || len(got) != n {
		t.Fatalf("%d receipts of %d in %d messages", len(got), n, messages)
	}
	for i, b := range got {
		if !bytes.Equal(b, receipt(i, each)) {
			t.Errorf("receipt %d is another", i)
		}
	}
}

// receipt of a part, about so many bytes long.
func receipt(part, bytes int) []byte { return fmt.Appendf(nil, `{"Rows":%0*d}`, bytes, part) }
