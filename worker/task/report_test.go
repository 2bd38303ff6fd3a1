package task

import (
	"errors"
	"testing"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

func TestDamagedInputIsALostOne(t *testing.T) {
	a := &attempt{spec: &pb.TaskSpec{Id: &pb.TaskID{Job: "j", Stage: 1}}, started: time.Now(), host: &host{memory: newBudget("test", 0, 1)}}
	from := shuffle.Location{Task: dataflow.TaskID{Job: "j", Index: 3, Attempt: 7}}
	for kind, corrupt := range map[dataflow.Kind]bool{dataflow.Corrupt: true, dataflow.InputLost: false} {
		f := a.failure(&dataflow.Error{Op: "shuffle.Fetch", Kind: kind, Err: &shuffle.LostError{Locations: []shuffle.Location{from}, Err: errors.New("checksum")}})
		if f.Corrupt != corrupt || dataflow.Kind(f.ErrorKind) != dataflow.InputLost || len(f.LostInputs) != 1 || f.LostInputs[0].Index != 3 || f.LostInputs[0].Attempt != 7 {
			t.Errorf("%v is reported as %v", kind, f)
		}
	}
}
