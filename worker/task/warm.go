package task

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// warm has it worked out how the messages between a host and its worker are encoded,
// which happens when the first of a type is met: a program that waits for a job can do
// that before.
func warm() {
	id, split := &pb.TaskID{Job: "j"}, &pb.Split{Id: "s"}
	for _, m := range []proto.Message{
		&pb.ToHost{Body: &pb.ToHost_Init{Init: &pb.HostInit{Job: &pb.JobSpec{Name: "n"}}}},
		&pb.ToHost{Body: &pb.ToHost_JobUpdate{JobUpdate: &pb.JobUpdate{Job: "j"}}},
		&pb.ToHost{Body: &pb.ToHost_Locations{Locations: &pb.Locations{Blocks: []*pb.BlockLocation{{Task: id}}}}},
		&pb.ToHost{Body: &pb.ToHost_Run{Run: &pb.TaskSpec{Id: id, Split: split}}},
		&pb.FromHost{Body: &pb.FromHost_Ready{Ready: &pb.HostReady{Pid: 1}}},
		&pb.FromHost{Body: &pb.FromHost_Result{Result: &pb.TaskResult{
			Id: id, Splits: []*pb.Split{split}, Output: &pb.PartitionSizes{Bytes: []int64{1}}, Stats: &pb.TaskStats{RowsIn: 1}, Ops: []*pb.OpStats{{}},
		}}},
	} {
		if b, err := proto.Marshal(m); err == nil {
			_ = proto.Unmarshal(b, m.ProtoReflect().New().Interface())
		}
	}
}
