package worker

import (
	"net"
	"strings"
	"testing"
	"time"
)

// never is a lease that no test waits for.
const never = time.Hour

// listen is an address where connections are accepted and nothing is ever said, as by a
// process that is stopped.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// A worker whose coordinator is silent goes to the one of a later epoch, long before the
// lease is over, as the same incarnation; one of an earlier epoch is none to go to.
func TestSuccessor(t *testing.T) {
	var earlier, later *fakeCoordinator
	c := startWith(t, text, false, func(f *fakeCoordinator, cfg *Config) {
		f.lease, f.mute = never, true
		earlier = newFake(t, "127.0.0.1:0", f.epoch-1)
		later = newFakeWith(t, "127.0.0.1:0", f.epoch+1, func(l *fakeCoordinator) { l.lease = never })
		cfg.Coordinator = strings.Join([]string{f.addr, listen(t), earlier.addr, later.addr}, ",")
	})
	later.await()
	if r := later.registered(); r.Incarnation != c.registered().Incarnation {
		t.Errorf("it came as %v", r)
	}
	if r := earlier.registered(); r != nil {
		t.Errorf("it went to a coordinator of an earlier epoch: %v", r)
	}
}

// A coordinator that accepts connections and says nothing does not keep a worker from the
// other one.
func TestStoppedAtFirst(t *testing.T) {
	f := newFake(t, "127.0.0.1:0", 7)
	w, err := Start(t.Context(), Config{Coordinator: listen(t) + "," + f.addr, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	f.await()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
