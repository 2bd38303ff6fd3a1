package coordinator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// smallDisk is a folder on a file system of its own with so many bytes.
func smallDisk(t *testing.T, bytes string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("divisi-test", dir, "tmpfs", 0, "size="+bytes); err != nil {
		t.Skipf("NOT TESTED, a small file system cannot be mounted: %v (it needs root)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the room of a file system and returns the file that does.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for buf := make([]byte, size); ; {
			if _, err = f.Write(buf); err != nil {
				break
			}
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the file system is not full but %v", err)
	}
	return name
}

// TestJournalOnAFullDisk: without room for the journal nothing is acknowledged and
// submits are refused, by name; with room again the running job goes on and ends. A
// coordinator that dies meanwhile has lost nothing that it said.
func TestJournalOnAFullDisk(t *testing.T) {
	state := smallDisk(t, "4m")
	c := start(t, state)
	w := newFake(t, "w1", 4)
	w.do = except(1)
	w.attach(c)
	id := submit(t, c)
	w.await("stage 1", func() bool { return w.count(1) == 2 })
	filler := fill(t, state)

	w.mu.Lock()
	var first, second *divisipb.TaskSpec
	for _, s := range w.launched {
		if s.GetId().GetStage() == 1 {
			first, second = s, first
		}
	}
	w.mu.Unlock()
	// A record may still find room in the last page of the file; many do not.
	keys := 0
	refused := error(nil)
	for ; refused == nil; keys++ {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := client(t, c).Submit(ctx, twoStages(t))
		cancel()
		switch status.Code(err) {
		case codes.OK, codes.DeadlineExceeded: // written to what was left, or waits
		default:
			refused = err
		}
		if keys == 200 {
			t.Fatal("the journal does not become full")
		}
	}
	if status.Code(refused) != codes.ResourceExhausted || !strings.Contains(refused.Error(), journal.ErrFull.Error()) || !strings.Contains(refused.Error(), journalDir(state)) {
		t.Errorf("refused with %v", refused)
	}
	w.report(first.GetId(), succeed(first))
	const last = 1 << 40
	w.beat(&divisipb.Heartbeat{Sequence: last}) // its answer does not wait for the journal
	w.await("the answer to what came after the result", func() bool {
		return slices.ContainsFunc(w.got, func(m *divisipb.ToWorker) bool { return m.GetAck().GetHeartbeat() == last })
	})
	w.mu.Lock()
	if _, acked := w.acked[name(first.GetId())]; acked {
		t.Error("a result was acknowledged without room to write it")
	}
	w.mu.Unlock()
	st, err := client(t, c).GetJob(t.Context(), &divisipb.GetJobRequest{Job: id})
	if err != nil || st.GetState() != divisipb.JobState_JOB_STATE_RUNNING {
		t.Errorf("the job meanwhile: %v, %v", st.GetState(), err)
	}

	// As if it died now, and was started where there is room.
	next := start(t, copyJournal(t, state))
	if st, err := client(t, next).GetJob(t.Context(), &divisipb.GetJobRequest{Job: id}); err != nil || st.GetState() != divisipb.JobState_JOB_STATE_RUNNING {
		t.Errorf("after a death: %v, %v", st.GetState(), err)
	}
	next.Close()

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	w.await("the acknowledgement", func() bool { lost, acked := w.acked[name(first.GetId())]; return acked && !lost })
	w.report(second.GetId(), succeed(second))
	succeeded(t, outcome(t, c, id))
	w.mu.Lock()
	runs := 0
	for _, s := range w.launched {
		if s.GetId().GetJob() == id && s.GetKind() == divisipb.TaskKind_TASK_KIND_RUN {
			runs++
		}
	}
	w.mu.Unlock()
	if runs != 5 {
		t.Errorf("%d attempts of five tasks: some ran again", runs)
	}
	if _, err := client(t, c).Submit(t.Context(), twoStages(t)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// copyJournal makes a state folder with the same journal on another file system.
func copyJournal(t *testing.T, state string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(journalDir(to), os.DirFS(journalDir(state))); err != nil {
		t.Fatal(err)
	}
	return to
}
