package task

import (
	"testing"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A fetch from a worker that is lost ends when the coordinator says where the output is
// now, not when the connection does.
func TestReadingEndsWhenTheOutputMoves(t *testing.T) {
	block := func(index, attempt int32, worker string) *pb.BlockLocation {
		return &pb.BlockLocation{Task: &pb.TaskID{Job: "j", Stage: 0, Index: index, Attempt: attempt}, Worker: worker, Address: worker + ":1"}
	}
	l := newLocations()
	l.told(&pb.Locations{Version: 2, Blocks: []*pb.BlockLocation{block(0, 1, "a"), block(1, 2, "b")}})
	gone := map[string]int{}
	read := func(name string, index, attempt int, worker string) (done func()) {
		at := shuffle.Location{Worker: worker, Task: dataflow.TaskID{Job: "j", Index: index, Attempt: attempt}}
		return l.read(at, func() { gone[name]++ })
	}
	read("stays", 0, 1, "a")
	read("moves", 1, 2, "b")
	read("ended", 1, 2, "b")()
	read("stale", 1, 1, "b")
	if len(gone) != 1 || gone["stale"] != 1 {
		t.Fatalf("%v", gone)
	}
	// The first of two messages does not name all there is.
	l.told(&pb.Locations{Version: 3, Reset_: true})
	if len(gone) != 1 {
		t.Fatalf("%v", gone)
	}
	l.told(&pb.Locations{Version: 5, Blocks: []*pb.BlockLocation{block(0, 1, "a"), block(1, 9, "a")}})
	if gone["stays"] != 0 || gone["moves"] != 1 || gone["ended"] != 0 {
		t.Errorf("%v", gone)
	}
}
