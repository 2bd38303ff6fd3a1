package coordinator

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/proto/divisipb"
)

var rewriteGolden = flag.Bool("golden", false, "write the golden records anew")

// TestGoldenPlanned: records of how a stage was divided are read for ever, those of before
// partitions were shared out as well as those of today.
func TestGoldenPlanned(t *testing.T) {
	tasks := []job.Planned{{Split: 2, ForwardStage: -1}, {Split: -1, Lo: 3, Hi: 5, ForwardStage: -1}, {Split: -1, ForwardStage: 1, ForwardIndex: 4}}
	shares := append(tasks[:3:3], job.Planned{Split: -1, Lo: 5, Hi: 6, ForwardStage: -1, Share: 1, Of: 3})
	for name, want := range map[string]job.StagePlanned{
		"stage-planned":        {Stage: 2, Tasks: tasks, Why: "so"},
		"stage-planned-shares": {Stage: 2, Tasks: shares, Why: "so"},
	} {
		now, err := proto.MarshalOptions{Deterministic: true}.Marshal(toRecord("j-1", want))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "golden", name+".bin")
		if *rewriteGolden {
			if err := os.WriteFile(file, now, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, now) {
			t.Errorf("%s: today's record differs from the golden one: fields are only added", name)
		}
		var r divisipb.JournalRecord
		if err := proto.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		if got := fromRecord(&r); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, want %+v", name, got, want)
		}
	}
}
