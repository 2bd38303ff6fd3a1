package coordinator

import (
	"slices"
	"testing"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// TestDrainIsToldAgain: a worker whose stream breaks before it has heard that it is to drain
// is told when it comes back; one that has heard is not.
func TestDrainIsToldAgain(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 4).attach(c)
	asked := func() bool {
		return slices.ContainsFunc(w.got, func(m *divisipb.ToWorker) bool { return m.GetDrain().GetGraceMillis() == 70 })
	}
	if _, err := client(t, c).DrainWorker(t.Context(), &divisipb.DrainWorkerRequest{Worker: "w1", GraceMillis: 70}); err != nil {
		t.Fatal(err)
	}
	w.await("the drain", asked)
	w.detach()
	w.mu.Lock()
	w.got = nil // it never came
	w.mu.Unlock()
	w.reregister().attach(c)
	w.await("the drain again", asked)

	w.detach()
	w.mu.Lock()
	w.got, w.reg.Draining = nil, true
	w.mu.Unlock()
	w.reregister().attach(c)
	w.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Drained{Drained: &divisipb.Drained{}}})
	<-w.over
	w.mu.Lock()
	defer w.mu.Unlock()
	if asked() {
		t.Error("a worker that drains is told to drain")
	}
}
