package plan

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
)

var rewriteGolden = flag.Bool("golden", false, "write the golden plan anew")

// golden is a plan as it is written today, goldenFirst the same as the first version wrote
// it, without a checksum, goldenShared one with what came later: inputs that may be shared
// out. All are read for ever.
const (
	golden       = "testdata/golden/plan.json"
	goldenFirst  = "testdata/golden/plan-unsummed.json"
	goldenShared = "testdata/golden/plan-shared.json"
)

// shared is everything, and an input that may be shared out.
func shared() *Plan {
	p := everything()
	p.Stages[2].Inputs[0].Shared = true
	return p
}

// everything is a plan in which every field of the first version is set.
func everything() *Plan {
	return &Plan{
		Version: 1, Job: "every \"thing\" <é>", Fingerprint: "f00d", Options: Options{Partitions: 3, Slots: 8, Mode: dataflow.Replace, Check: true},
		Stages: []Stage{
			{
				ID: 0, Name: "read+sample", Inputs: []Input{{Mode: BySplit, Source: 0, Exchange: -1, Node: 1}},
				Chain:  []Step{{Node: 1, Name: "lines", Kind: "source", Site: "main.go:12", Schema: "value: utf8"}},
				Output: Output{Exchange: 0, Sink: -1, Sample: -1}, MaxTasks: 20,
			},
			{
				ID: 1, Name: "sort", Inputs: []Input{{Mode: BySplit, Source: 0, Exchange: -1, Node: 1}, {Mode: Whole, Source: -1, Exchange: 0, Node: 2}},
				Output: Output{Exchange: 1, Sink: -1, Sample: 0},
			},
			{
				ID: 2, Name: "write", Inputs: []Input{{Mode: ByPartition, Source: -1, Exchange: 1, Node: 3}},
				Output: Output{Exchange: -1, Sink: 0, PartBase: 7, Sample: -1},
			},
		},
		Exchanges: []Exchange{
			{ID: 0, Exchange: dataflow.Exchange{Kind: dataflow.Broadcast, Partitions: 1}, Producers: []int{0}, Consumers: []int{1}},
			{ID: 1, Exchange: dataflow.Exchange{Kind: dataflow.Range, Partitions: 3, Keys: []dataflow.SortKey{{Column: 0, Descending: true}}}, Fixed: true, Producers: []int{1}, Consumers: []int{2}},
		},
		Sources: []Source{{ID: 0, Node: 1, Kind: "files", Name: "in/*.txt"}},
		Sinks:   []Sink{{ID: 0, Node: 4, Kind: "files", Name: "out", Mode: dataflow.Replace}},
	}
}

func TestGolden(t *testing.T) {
	for name, want := range map[string]*Plan{golden: everything(), goldenFirst: everything(), goldenShared: shared()} {
		now, err := want.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if *rewriteGolden && name != goldenFirst {
			if err := os.WriteFile(name, now, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name != goldenFirst && !bytes.Equal(b, now) {
			t.Errorf("today's plan differs from the golden one: keep that, and add another\n%s\n%s", b, now)
		}
		for _, end := range []string{"", "\n"} {
			got, err := Parse(append(bytes.Clone(b), end...))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: read as\n%+v\nwant\n%+v", name, got, want)
			}
		}
	}
}

// TestDamaged turns over each bit of a plan and cuts it at each length.
func TestDamaged(t *testing.T) {
	whole, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			if _, err := Parse(b); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
		}
		if _, err := Parse(whole[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	for _, b := range []string{string(whole) + " ", string(whole) + "\n\n", " " + string(whole), "{}", "null", "[]"} {
		if _, err := Parse([]byte(b)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%.20q...: %v", b, err)
		}
	}
}

func TestNewerVersion(t *testing.T) {
	p := everything()
	p.Version = 2
	b, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(b); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "version 2, this release reads 1") {
		t.Errorf("got %v", err)
	}
}

// FuzzParse: whatever is taken for a plan can be printed and written, and is read as it
// was.
func FuzzParse(f *testing.F) {
	for _, name := range []string{golden, goldenFirst, goldenShared} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":1,"stages":[{"id":0,"inputs":[{"mode":"whole","exchange":0}],"output":{"exchange":0,"sink":-1}}],"exchanges":[{"id":0,"Partitions":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		_, _ = p.Text(), p.DOT()
		again, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		q, err := Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if third, err := q.JSON(); err != nil || !bytes.Equal(again, third) {
			t.Errorf("written again:\n%s\n%s\n%v", again, third, err)
		}
	})
}
