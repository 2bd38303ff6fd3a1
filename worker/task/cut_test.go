package task

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/dataflow"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// giver gives away the second half of what it has, as often as it is asked.
type giver struct {
	dataflow.Stream
	asked int
	keep  float64
}

func (g *giver) TrySplit(keep float64) (kept, rest dataflow.Split, ok bool) {
	g.asked++
	g.keep = keep
	return dataflow.Split{ID: "a", Bytes: 3, Payload: []byte("x")}, dataflow.Split{ID: "b", Bytes: 4, Hosts: []string{"h"}}, true
}

type miser struct{ dataflow.Stream }

func TestCuts(t *testing.T) {
	want := &pb.Cut{Kept: &pb.Split{Id: "a", Bytes: 3, Payload: []byte("x")}, Rest: &pb.Split{Id: "b", Bytes: 4, Hosts: []string{"h"}}}
	g := &giver{}
	var c cuts
	if got := c.give(0.25); got != nil {
		t.Errorf("before anything is read it gives %v", got)
	}
	c.open(g)
	for range 2 { // once, and says it again
		if got := c.give(0.25); !proto.Equal(got, want) {
			t.Errorf("it gives %v, want %v", got, want)
		}
	}
	if got := c.close(); !proto.Equal(got, want) || g.asked != 1 || g.keep != 0.25 {
		t.Errorf("its result says %v, asked %d times to keep %g", got, g.asked, g.keep)
	}
	if got := c.give(0.5); !proto.Equal(got, want) {
		t.Errorf("after the end it says %v, want %v", got, want)
	}

	// What has been read to the end has its result: nothing is given any more.
	g = &giver{}
	c = cuts{}
	c.open(g)
	if got := c.close(); got != nil {
		t.Errorf("the result says %v", got)
	}
	if got := c.give(0.5); got != nil || g.asked != 0 {
		t.Errorf("after the end it gives %v, asked %d times", got, g.asked)
	}

	c = cuts{}
	c.open(miser{})
	if got := c.give(0.5); got != nil {
		t.Errorf("a stream that cannot gives %v", got)
	}
}

// TestCutIsAnswered: a host answers for attempts that run, and for those it does not know.
func TestCutIsAnswered(t *testing.T) {
	r := newRig(t, "pause next", copyJob, copyJob)
	r.ready()
	spec := r.spec(pb.TaskKind_TASK_KIND_RUN)
	r.send(&pb.ToHost{Body: &pb.ToHost_Run{Run: spec}})
	<-r.stub.at
	for _, number := range []int32{spec.Id.Attempt, 99} {
		id := &pb.TaskID{Job: "copy-1", Attempt: number}
		r.send(&pb.ToHost{Body: &pb.ToHost_CutTask{CutTask: &pb.CutTask{Id: id, Keep: 0.5}}})
		got := r.next().GetTaskCut()
		if !proto.Equal(got.GetId(), id) || (got.GetCut() != nil) != (number == spec.Id.Attempt) {
			t.Errorf("asked for a part of attempt %d it says %v", number, got)
		}
	}
	r.stub.on <- struct{}{}
	res := r.next().GetResult()
	if res.GetCut().GetKept().GetId() != "kept" || res.GetCut().GetRest().GetId() != "rest" {
		t.Errorf("the result says %v", res)
	}
	r.clean()
}

func (s *stubStream) TrySplit(float64) (kept, rest dataflow.Split, ok bool) {
	return dataflow.Split{ID: "kept"}, dataflow.Split{ID: "rest"}, true
}
