package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/cockroachdb/datadriven"

	"github.com/divisi-data/divisi/dataflow"
)

var row = arrow.NewSchema([]arrow.Field{{Name: "key", Type: arrow.PrimitiveTypes.Int64}}, nil)

// pass is an operator of one or more inputs that does nothing; named ones fuse.
type pass struct{ does string }

func (p pass) Schema(in ...*arrow.Schema) (*arrow.Schema, error) { return in[0], nil }
func (p pass) Open(_ *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return in[0], nil
}

type fusing struct{ pass }

func (f fusing) FuseAfter(prev dataflow.Operator) (dataflow.Operator, bool) {
	p, ok := prev.(fusing)
	if !ok {
		return nil, false
	}
	return fusing{pass{p.does + ">" + f.does}}, true
}

type nothing struct{ name string }

func (n nothing) String() string                                         { return n.name }
func (nothing) Schema(context.Context) (*arrow.Schema, error)            { return row, nil }
func (nothing) Prepare(context.Context, dataflow.Commit) ([]byte, error) { return nil, nil }
func (nothing) Publish(context.Context, dataflow.Commit, []dataflow.Receipt) error {
	return nil
}
func (nothing) Clean(context.Context, dataflow.Commit) error { return nil }
func (nothing) Splits(context.Context, dataflow.SplitHint) ([]dataflow.Split, error) {
	return nil, nil
}

type nowhere struct{ nothing }

func (nowhere) Open(*dataflow.Env, dataflow.Split) (dataflow.Stream, error) { return nil, nil }

type noSink struct{ nothing }

func (noSink) Open(*dataflow.Env) (dataflow.Writer, error) { return nil, nil }

func init() {
	dataflow.RegisterSource(dataflow.SourceKind{Kind: "test", Build: func(a []byte) (dataflow.Source, error) {
		return nowhere{nothing{string(a)}}, nil
	}})
	dataflow.RegisterSink(dataflow.SinkKind{Kind: "test", Build: func(a []byte) (dataflow.Sink, error) {
		return noSink{nothing{string(a)}}, nil
	}})
	for _, k := range []string{"sample", "sort", "hashjoin", "checksorted"} {
		dataflow.Register(dataflow.OperatorKind{Kind: k, Build: func(a []byte) (dataflow.Operator, error) { return pass{k}, nil }})
	}
}

// parseGraph reads a node a line: "name = kind inputs... [key=value ...]".
func parseGraph(t *testing.T, text string) *dataflow.Graph {
	g := &dataflow.Graph{Name: "test"}
	byName := map[string]*dataflow.Node{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		n := &dataflow.Node{ID: len(g.Nodes), Name: f[0], Site: "main.go:" + strconv.Itoa(len(g.Nodes)+1), Schema: row}
		switch f[2] {
		case "source":
			n.Kind, n.Ref = dataflow.SourceNode, dataflow.Ref{Kind: "test", Args: []byte(f[0])}
		case "sink":
			n.Kind, n.Ref, n.Schema = dataflow.SinkNode, dataflow.Ref{Kind: "test", Args: []byte(f[0])}, nil
		case "map":
			n.Kind, n.Op = dataflow.OperatorNode, fusing{pass{f[0]}}
		case "union":
			n.Kind = dataflow.UnionNode
		case "cache":
			n.Kind = dataflow.CacheNode
		case "sort", "hashjoin":
			n.Kind, n.Ref = dataflow.OperatorNode, dataflow.Ref{Kind: f[2]}
		default: // a kind of exchange
			n.Kind, n.Exchange = dataflow.ExchangeNode, dataflow.Exchange{Kind: dataflow.ExchangeKind(f[2])}
			switch n.Exchange.Kind {
			case dataflow.Hash:
				n.Exchange.Columns = []int{0}
			case dataflow.Range:
				n.Exchange.Keys = []dataflow.SortKey{{}}
			}
		}
		for _, w := range f[3:] {
			k, v, isOption := strings.Cut(w, "=")
			switch {
			case w == "rowwise":
				n.Rowwise = true
			case !isOption:
				if byName[w] == nil {
					t.Fatalf("no node %q before %q", w, line)
				}
				n.In = append(n.In, byName[w])
			case k == "side":
				n.Sides = append(n.Sides, byName[v])
			case k == "by":
				column, _ := strconv.Atoi(v)
				n.PartitionedBy = []int{column}
			case k == "partitions":
				n.Exchange.Partitions, _ = strconv.Atoi(v)
			}
		}
		byName[f[0]] = n
		g.Nodes = append(g.Nodes, n)
	}
	return g
}

// TestCompile compares plans with those in testdata/compile; rewrite them with
// go test ./dataflow/plan -rewrite.
func TestCompile(t *testing.T) {
	datadriven.RunTest(t, "testdata/compile", func(t *testing.T, d *datadriven.TestData) string {
		o := Options{Slots: 4}
		if d.HasArg("partitions") {
			d.ScanArgs(t, "partitions", &o.Partitions)
		}
		g := parseGraph(t, d.Input)
		p, err := Compile(g, o)
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		again, err := Compile(parseGraph(t, d.Input), o)
		if err != nil {
			t.Fatal(err)
		}
		one, _ := p.Plan.JSON()
		two, _ := again.Plan.JSON()
		if string(one) != string(two) {
			t.Errorf("compiling twice gives two plans:\n%s\n%s", one, two)
		}
		back, err := Parse(one)
		if err != nil {
			t.Fatal(err)
		}
		if three, _ := back.JSON(); string(three) != string(one) {
			t.Errorf("the plan does not survive the journey:\n%s\n%s", one, three)
		}
		if d.Cmd == "dot" {
			return p.Plan.DOT()
		}
		text := strings.Replace(p.Plan.Text(), p.Plan.Fingerprint, "F", 1)
		for i := range p.trees {
			text += fmt.Sprintf("tree %d: %s\n", i, treeText(p.trees[i]))
		}
		return text
	})
}

func treeText(t *tree) string {
	if t.op == nil {
		return "in" + strconv.Itoa(t.input)
	}
	var in []string
	for _, s := range t.in {
		in = append(in, treeText(s))
	}
	name := t.node.Name
	switch op := t.op.(type) {
	case fusing:
		name = op.does
	case pass:
		name = op.does
	}
	return name + "(" + strings.Join(in, ", ") + ")"
}

func TestFingerprintSeesEveryChange(t *testing.T) {
	const text = "a = source\nm = map a\nx = hash m\nr = map x\nout = sink r"
	seen := map[string]string{}
	for name, change := range map[string]func(g *dataflow.Graph, o *Options){
		"nothing":    func(*dataflow.Graph, *Options) {},
		"name":       func(g *dataflow.Graph, _ *Options) { g.Nodes[1].Name = "other" },
		"site":       func(g *dataflow.Graph, _ *Options) { g.Nodes[1].Site = "main.go:99" },
		"args":       func(g *dataflow.Graph, _ *Options) { g.Nodes[0].Ref.Args = []byte("elsewhere") },
		"operator":   func(g *dataflow.Graph, _ *Options) { g.Nodes[1].Op = pass{} },
		"exchange":   func(g *dataflow.Graph, _ *Options) { g.Nodes[2].Exchange.Partitions = 3 },
		"edge":       func(g *dataflow.Graph, _ *Options) { g.Nodes[3].In[0] = g.Nodes[1] },
		"order":      func(g *dataflow.Graph, _ *Options) { g.Nodes[3].SortedBy = []dataflow.SortKey{{}} },
		"partitions": func(_ *dataflow.Graph, o *Options) { o.Partitions = 9 },
		"mode":       func(_ *dataflow.Graph, o *Options) { o.Mode = dataflow.Append },
	} {
		g, o := parseGraph(t, text), Options{}
		change(g, &o)
		p, err := Compile(g, o)
		if err != nil {
			t.Fatal(name, err)
		}
		if other, twice := seen[p.Plan.Fingerprint]; twice {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[p.Plan.Fingerprint] = name
	}
}

func TestParseRefuses(t *testing.T) {
	p, err := Compile(parseGraph(t, "a = source\nx = hash a\nout = sink x"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(p *Plan){
		"a newer version":    func(p *Plan) { p.Version++ },
		"a missing source":   func(p *Plan) { p.Stages[0].Inputs[0].Source = 7 },
		"a missing exchange": func(p *Plan) { p.Stages[1].Inputs[0].Exchange = 7 },
		"no output":          func(p *Plan) { p.Stages[0].Output.Exchange = -1 },
		"a wrong number":     func(p *Plan) { p.Stages[1].ID = 0 },
		"a share of splits":  func(p *Plan) { p.Stages[0].Inputs[0].Shared = true },
		"two shared inputs": func(p *Plan) {
			in := &p.Stages[1].Inputs
			*in = append(*in, (*in)[0])
			(*in)[0].Shared, (*in)[1].Shared = true, true
		},
		"no partitions":      func(p *Plan) { p.Exchanges[0].Partitions = 0 },
		"a missing producer": func(p *Plan) { p.Exchanges[0].Producers[0] = 9 },
	} {
		b, _ := p.Plan.JSON()
		var q Plan
		if err := json.Unmarshal(b, &q); err != nil {
			t.Fatal(err)
		}
		spoil(&q)
		b, _ = q.JSON()
		if _, err := Parse(b); err == nil {
			t.Errorf("a plan with %s is accepted", name)
		}
	}
}
