package plan_test

import (
	"context"
	"errors"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
)

// sized is a source that only says how many rows it has; 0: it does not know, less: it
// fails.
type sized struct {
	df.Source
	rows float64
}

var errSized = errors.New("nobody can count it")

func (s sized) EstimateRows(context.Context) (float64, error) {
	if s.rows < 0 {
		return 0, errSized
	}
	return s.rows, nil
}

func init() {
	df.RegisterSource(df.SourceKind{Kind: "sized", Build: func(args []byte) (df.Source, error) {
		n := 0.0
		switch string(args) {
		case "many":
			n = 9000
		case "few":
			n = 90
		case "broken":
			n = -1
		}
		return sized{rows: n}, nil
	}})
	df.RegisterSink(df.SinkKind{Kind: "nowhere", Build: func([]byte) (df.Sink, error) { return nowhere{}, nil }})
}

type nowhere struct{ df.Sink }

// guess is an operator that only guesses.
type guess func(in ...float64) float64

func (g guess) Estimate(in ...float64) float64                    { return g(in...) }
func (g guess) Schema(in ...*arrow.Schema) (*arrow.Schema, error) { return in[0], nil }
func (g guess) Open(*df.Env, ...df.Stream) (df.Stream, error)     { return nil, errSized }

// mute is one that does not even do that.
type mute struct{ df.Operator }

func (mute) Schema(in ...*arrow.Schema) (*arrow.Schema, error) { return in[0], nil }

func operator(id int, name string, op df.Operator, in ...*df.Node) *df.Node {
	return &df.Node{ID: id, Kind: df.OperatorNode, Name: name, Op: op, In: in, Schema: in[0].Schema}
}

// Guesses follow rows through operators and exchanges, and end where nobody knows.
func TestEstimate(t *testing.T) {
	for kind, want := range map[string][]float64{
		//         source, third, exchange, larger, mute
		"many":   {9000, 3000, 3000, 3000, 0},
		"few":    {90, 30, 30, 90, 0},
		"unsure": {0, 0, 0, 0, 0},
		"broken": {0, 0, 0, 0, 0},
	} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "k", Type: arrow.PrimitiveTypes.Int64}}, nil)
		l := &df.Node{ID: 0, Kind: df.SourceNode, Name: "l", Ref: df.Ref{Kind: "sized", Args: []byte(kind)}, Schema: schema}
		r := &df.Node{ID: 1, Kind: df.SourceNode, Name: "r", Ref: df.Ref{Kind: "sized", Args: []byte("few")}, Schema: schema}
		w := operator(2, "third", guess(func(in ...float64) float64 { return in[0] / 3 }), l)
		lx := &df.Node{ID: 3, Kind: df.ExchangeNode, Name: "lx", In: []*df.Node{w}, Schema: schema, Exchange: df.Exchange{Kind: df.Hash, Columns: []int{0}}}
		rx := &df.Node{ID: 4, Kind: df.ExchangeNode, Name: "rx", In: []*df.Node{r}, Schema: schema, Exchange: df.Exchange{Kind: df.Hash, Columns: []int{0}}}
		j := operator(5, "larger", guess(func(in ...float64) float64 { return max(in[0], in[1]) }), lx, rx)
		top := operator(6, "mute", mute{}, j)
		sink := &df.Node{ID: 7, Kind: df.SinkNode, Name: "out", Ref: df.Ref{Kind: "nowhere"}, In: []*df.Node{top}}
		p, err := plan.Compile(&df.Graph{Name: "guess", Nodes: []*df.Node{l, r, w, lx, rx, j, top, sink}}, plan.Options{Partitions: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Estimate(t.Context()); (kind == "broken") != errors.Is(err, errSized) {
			t.Errorf("%s: %v", kind, err)
		}
		var got []float64
		for _, s := range p.Plan.Stages {
			for _, o := range s.Ops {
				if o.Name != "r" && o.Name != "rx" {
					got = append(got, o.Estimate)
				}
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %v, want %v", kind, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %v, want %v", kind, got, want)
				break
			}
		}
	}
}
