package job

import (
	"reflect"
	"testing"

	"github.com/divisi-data/divisi/dataflow/plan"
)

// What is said of operators that the plan does not have costs no memory.
func TestOpsOfThePlanOnly(t *testing.T) {
	s := &stage{plan: &plan.Stage{Ops: make([]plan.Op, 2)}}
	s.addOps([]plan.OpStats{{Rows: 1}, {Rows: 2}, {Rows: 3}}, 1)
	s.addOps([]plan.OpStats{{Rows: 5}}, 1)
	s.addOps([]plan.OpStats{{Rows: 1}}, -1)
	if want := []plan.OpStats{{Rows: 5}, {Rows: 2}}; !reflect.DeepEqual(s.ops, want) {
		t.Errorf("%+v, want %+v", s.ops, want)
	}
}
