package worker

import (
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// TestCutIsAnswered: the host of a task that runs is asked for a part of its split; one
// that waits for a slot keeps it all; of one that nobody knows nothing is said.
func TestCutIsAnswered(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("waits", c.plan.Options, c.out)
	split := c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)).Splits[0]
	var ids []*pb.TaskID
	for i := range c.w.cfg.Slots + 1 {
		id := c.id(0, i)
		ids = append(ids, id)
		c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: split}}}})
	}
	for range c.w.cfg.Slots {
		<-waiting
	}
	ask := func(id *pb.TaskID) {
		c.send(&pb.ToWorker{Body: &pb.ToWorker_CutTask{CutTask: &pb.CutTask{Id: id, Keep: 0.5}}})
	}
	ask(c.id(0, 77))
	for _, id := range []*pb.TaskID{ids[0], ids[len(ids)-1]} {
		ask(id)
		if m := c.next().GetTaskCut(); !proto.Equal(m.GetId(), id) || m.GetCut() != nil {
			t.Errorf("asked for a part of %v, of which all is read or nothing begun, it says %v", id, m)
		}
	}
	for _, id := range ids {
		c.send(&pb.ToWorker{Body: &pb.ToWorker_CancelTask{CancelTask: &pb.CancelTask{Id: id, Why: "enough"}}})
	}
	for range ids {
		if m := c.next(); m.GetFailure() == nil {
			t.Errorf("after the cancels it says %v", m)
		}
	}
}
