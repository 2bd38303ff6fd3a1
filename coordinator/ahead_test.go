package coordinator

import (
	"slices"
	"testing"

	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// TestAheadOfTheJournal: tasks of a stage follow each other while results wait to be
// durable; nothing is acknowledged meanwhile, and no task that reads what others made begins
// before that is. Who waits makes the journal hurry, an acknowledgement alone does not.
func TestAheadOfTheJournal(t *testing.T) {
	l := &slowLog{}
	now := int64(1)
	c, err := NewCore(CoreConfig{Clock: func() int64 { return now }, Random: randomName}, nil, 0,
		func(uint64, []journal.Record) Log { return l })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(twoStagesOf(t, 5), func(string, bool) {}); err != nil {
		t.Fatal(err)
	}
	w := newFake(t, "w1", 1)
	st, err := c.Attach(w.reg)
	if err != nil {
		t.Fatal(err)
	}
	var launched []*divisipb.TaskSpec
	acked := 0
	turn := func() {
		c.Turn()
		sent, _ := st.Take()
		for _, m := range sent {
			if task := m.GetLaunch().GetTask(); task != nil {
				launched = append(launched, task)
			}
			if m.GetAck().GetTask() != nil {
				acked++
			}
		}
	}
	report := func(spec *divisipb.TaskSpec) {
		m := succeed(spec)
		m.Epoch = c.Epoch()
		c.Receive(st, m)
	}
	// What comes before the first task is made durable as it comes.
	reads := func(s *divisipb.TaskSpec) bool { return s.GetSplit() != nil }
	for range 10 {
		l.sync()
		turn()
		for len(launched) > 0 && !reads(launched[0]) {
			report(launched[0])
			launched = launched[1:]
		}
	}
	if len(launched) == 0 || !slices.ContainsFunc(launched, reads) {
		t.Fatalf("launched: %v", launched)
	}
	acked = 0
	hurried := l.hurried
	ran := 0
	for len(launched) > 0 { // and the disk is silent
		spec := launched[0]
		launched = launched[1:]
		if !reads(spec) {
			t.Fatalf("%v begins and what it reads is not durable", spec.GetId())
		}
		if ran++; ran == 3 && l.hurried != hurried {
			t.Errorf("asked to hurry %d times for results alone", l.hurried-hurried)
		}
		report(spec)
		turn()
	}
	if ran != 3 || acked != 0 {
		t.Errorf("%d of 3 tasks ran, %d results were acknowledged", ran, acked)
	}
	if l.hurried == hurried {
		t.Error("tasks wait for the results and the journal was not asked to hurry")
	}
	l.sync()
	turn()
	if acked != 3 || len(launched) == 0 || slices.ContainsFunc(launched, reads) {
		t.Errorf("%d results are acknowledged when durable, and launched are %v", acked, launched)
	}
	// What those read is durable: that others of them have ended need not be.
	acked, hurried, ran = 0, l.hurried, 0
	for len(launched) > 0 && launched[0].GetKind() == divisipb.TaskKind_TASK_KIND_RUN {
		if ran++; ran == 5 && l.hurried != hurried {
			t.Errorf("asked to hurry %d times for the readers' results alone", l.hurried-hurried)
		}
		report(launched[0])
		launched = launched[1:]
		turn()
	}
	if ran != 5 || acked != 0 || len(launched) > 0 {
		t.Errorf("%d of 5 readers ran, %d results were acknowledged, and launched are %v", ran, acked, launched)
	}
	if l.hurried == hurried {
		t.Error("the end waits for the results and the journal was not asked to hurry")
	}
	l.sync()
	turn()
	if acked != 5 || len(launched) == 0 {
		t.Errorf("%d results are acknowledged when durable, and launched are %v", acked, launched)
	}
}
