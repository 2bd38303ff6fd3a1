package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

const (
	// partsPerStage separates the part numbers of several stages that write one sink.
	partsPerStage = 100_000
	// A sampling stage reads little: so many splits or partitions, so many rows of
	// each, and keeps so many keys.
	sampleSplits     = 16
	samplePartitions = 4
	sampleRows       = 200_000
	sampleKeys       = 4_096
)

// A Program is a compiled job: the plan, and the operators that carry it out. It
// stays in the process that compiled it and may be used from many goroutines.
type Program struct {
	Plan *Plan

	sources   []dataflow.Source
	sinks     []dataflow.Sink
	exchanges []*arrow.Schema // what flows through
	trees     []*tree         // by stage
}

// Source is what a BySplit input reads.
func (p *Program) Source(id int) dataflow.Source { return p.sources[id] }

// Sink is what a stage writes to.
func (p *Program) Sink(id int) dataflow.Sink { return p.sinks[id] }

// ExchangeSchema is the schema of the rows that cross an exchange.
func (p *Program) ExchangeSchema(id int) *arrow.Schema { return p.exchanges[id] }

// Compile cuts a graph into stages and tasks' shapes. The same graph and options give
// the same plan, fingerprint included, in every process.
func Compile(g *dataflow.Graph, o Options) (*Program, error) {
	if o.Mode == "" {
		o.Mode = dataflow.Fail
	}
	c := &compiler{
		graph: g, options: o,
		program:  &Program{Plan: &Plan{Version: Version, Job: g.Name, Options: o}},
		exchange: map[int]int{}, source: map[int]int{},
	}
	for _, n := range g.Nodes {
		if n.Kind == dataflow.SinkNode {
			if err := c.sink(n); err != nil {
				return nil, err
			}
		}
	}
	p := c.program.Plan
	if len(p.Sinks) == 0 {
		return nil, errors.New("the job writes nothing: end it with Write")
	}
	if err := c.choosePartitions(); err != nil {
		return nil, err
	}
	p.shareOnlyChosen()
	fp, err := fingerprint(g, o)
	if err != nil {
		return nil, err
	}
	p.Fingerprint = fp
	return c.program, nil
}

type compiler struct {
	graph    *dataflow.Graph
	options  Options
	program  *Program
	exchange map[int]int // node of the exchange or cache -> exchange
	source   map[int]int // node of the source -> source
}

// A tree is what runs inside a stage: an operator over trees, or a leaf that reads
// an input of the stage.
type tree struct {
	node  *dataflow.Node
	op    dataflow.Operator
	in    []*tree
	input int // of a leaf: position in Stage.Inputs; -1 for an operator
	id    int // position in Stage.Ops
	// path lists the nodes that op does the work of, in order (several when fused).
	path []*dataflow.Node
}

// sink makes the stages that write to a sink.
func (c *compiler) sink(n *dataflow.Node) error {
	p := c.program.Plan
	id := len(p.Sinks)
	s, err := dataflow.NewSink(n.Ref.Kind, n.Ref.Args)
	if err != nil {
		return at(n, err)
	}
	p.Sinks = append(p.Sinks, Sink{ID: id, Node: n.ID, Kind: n.Ref.Kind, Name: describe(s, n), Mode: c.options.Mode})
	c.program.sinks = append(c.program.sinks, s)
	branches, err := c.expand(n.In[0])
	if err != nil {
		return err
	}
	for i, b := range branches {
		stage, err := c.stage(b, n, Output{Exchange: -1, Sink: id, PartBase: i * partsPerStage, Sample: -1}, nil)
		if err != nil {
			return err
		}
		if z, ok := s.(dataflow.Sizer); ok {
			p.Stages[stage].TargetBytes = z.TargetBytes()
		}
	}
	return nil
}

// expand is what a node's rows are made of, as far back as the cuts: one tree, or
// one per branch of the unions on the way.
func (c *compiler) expand(n *dataflow.Node) ([]*tree, error) {
	switch n.Kind {
	case dataflow.SourceNode, dataflow.ExchangeNode, dataflow.CacheNode:
		return []*tree{{node: n, path: []*dataflow.Node{n}}}, nil
	case dataflow.UnionNode:
		var all []*tree
		for _, in := range n.In {
			b, err := c.expand(in)
			if err != nil {
				return nil, err
			}
			all = append(all, b...)
		}
		return all, nil
	case dataflow.OperatorNode:
		return c.expandOperator(n)
	}
	return nil, at(n, fmt.Errorf("a %s cannot be read from", n.Kind))
}

func (c *compiler) expandOperator(n *dataflow.Node) ([]*tree, error) {
	op := n.Op
	if op == nil {
		var err error
		if op, err = dataflow.NewOperator(n.Ref.Kind, n.Ref.Args); err != nil {
			return nil, at(n, err)
		}
	}
	// Operators that must know their inputs' columns before they see a row are told here.
	var schemas []*arrow.Schema
	for _, in := range n.In {
		schemas = append(schemas, in.Schema)
	}
	out, err := op.Schema(schemas...)
	if err == nil && n.Op == nil {
		err = sameColumns(out, n.Schema)
	}
	if err != nil {
		return nil, at(n, err)
	}
	inputs := make([][]*tree, len(n.In))
	for i, in := range n.In {
		b, err := c.expand(in)
		if err != nil {
			return nil, err
		}
		if i > 0 && len(b) != 1 {
			return nil, at(n, fmt.Errorf("%s reads a union as its input %d: repartition the union first", n.Name, i))
		}
		inputs[i] = b
	}
	var trees []*tree
	for _, first := range inputs[0] {
		t := &tree{node: n, op: op, in: []*tree{first}, input: -1, path: []*dataflow.Node{n}}
		for _, rest := range inputs[1:] {
			t.in = append(t.in, rest[0].clone())
		}
		trees = append(trees, t.fuse())
	}
	return trees, nil
}

// sameColumns says whether a registered operator makes the columns that the graph
// was told of.
func sameColumns(made, want *arrow.Schema) error {
	ok := made.NumFields() == want.NumFields()
	for i := 0; ok && i < made.NumFields(); i++ {
		ok = made.Field(i).Type.ID() == want.Field(i).Type.ID()
	}
	if !ok {
		return fmt.Errorf("the operator makes the columns (%s), the job says (%s)", schemaText(made), schemaText(want))
	}
	return nil
}

func (t *tree) clone() *tree {
	d := *t
	d.in = make([]*tree, len(t.in))
	for i := range t.in {
		d.in[i] = t.in[i].clone()
	}
	return &d
}

// fuse lets an operator absorb the one before it.
func (t *tree) fuse() *tree {
	f, ok := t.op.(dataflow.Fuser)
	if !ok || len(t.in) != 1 || t.in[0].op == nil {
		return t
	}
	prev := t.in[0]
	if len(prev.in) != 1 {
		return t
	}
	op, ok := f.FuseAfter(prev.op)
	if !ok {
		return t
	}
	return &tree{node: t.node, op: op, in: prev.in, input: -1, path: append(append([]*dataflow.Node{}, prev.path...), t.path...)}
}

// stage makes a stage of a tree. boundary is the node its rows go to, nil for a
// sampling stage. extra inputs are read whole.
func (c *compiler) stage(t *tree, boundary *dataflow.Node, out Output, extra []Input) (int, error) {
	t = t.clone()
	s := Stage{Output: out}
	if err := c.leaves(t, &s); err != nil {
		return 0, err
	}
	seen := map[int]bool{}
	var sides func(t *tree) error
	sides = func(t *tree) error {
		for _, in := range t.in {
			if err := sides(in); err != nil {
				return err
			}
		}
		for _, n := range t.path {
			for _, side := range n.Sides {
				if seen[side.ID] {
					continue
				}
				seen[side.ID] = true
				x, err := c.produce(side)
				if err != nil {
					return err
				}
				s.Inputs = append(s.Inputs, Input{Mode: Whole, Source: -1, Exchange: x, Node: side.ID})
			}
		}
		return nil
	}
	if err := sides(t); err != nil {
		return 0, err
	}
	s.Inputs = append(s.Inputs, extra...)
	if err := checkInputs(&s, t); err != nil {
		return 0, err
	}

	share(&s, t, boundary)

	p := c.program.Plan
	s.ID = len(p.Stages)
	for _, in := range s.Inputs {
		if in.Exchange >= 0 {
			x := &p.Exchanges[in.Exchange]
			x.Consumers = append(x.Consumers, s.ID)
		}
	}
	if out.Exchange >= 0 {
		x := &p.Exchanges[out.Exchange]
		x.Producers = append(x.Producers, s.ID)
	}
	s.Chain = steps(t)
	s.Ops = number(t, nil)
	s.Name = stageName(t, boundary)
	p.Stages = append(p.Stages, s)
	c.program.trees = append(c.program.trees, t)
	return s.ID, nil
}

// leaves gives each leaf of the tree an input of the stage.
func (c *compiler) leaves(t *tree, s *Stage) error {
	for _, in := range t.in {
		if err := c.leaves(in, s); err != nil {
			return err
		}
	}
	if t.op != nil {
		return nil
	}
	in := Input{Source: -1, Exchange: -1, Node: t.node.ID}
	if t.node.Kind == dataflow.SourceNode {
		id, err := c.readSource(t.node)
		if err != nil {
			return err
		}
		in.Mode, in.Source = BySplit, id
	} else {
		id, err := c.produce(t.node)
		if err != nil {
			return err
		}
		in.Exchange = id
		switch c.program.Plan.Exchanges[id].Kind {
		case dataflow.Broadcast:
			in.Mode = Whole
		case dataflow.Forward:
			in.Mode = ByForward
		default:
			in.Mode = ByPartition
		}
	}
	t.input = len(s.Inputs)
	s.Inputs = append(s.Inputs, in)
	return nil
}

func (c *compiler) readSource(n *dataflow.Node) (int, error) {
	if id, ok := c.source[n.ID]; ok {
		return id, nil
	}
	src, err := dataflow.NewSource(n.Ref.Kind, n.Ref.Args)
	if err != nil {
		return 0, at(n, err)
	}
	p := c.program.Plan
	id := len(p.Sources)
	p.Sources = append(p.Sources, Source{ID: id, Node: n.ID, Kind: n.Ref.Kind, Name: describe(src, n)})
	c.program.sources = append(c.program.sources, src)
	c.source[n.ID] = id
	return id, nil
}

// produce makes the stages that fill an exchange or cache, once.
func (c *compiler) produce(n *dataflow.Node) (int, error) {
	if id, ok := c.exchange[n.ID]; ok {
		return id, nil
	}
	x := n.Exchange
	if n.Kind == dataflow.CacheNode {
		x = dataflow.Exchange{Kind: dataflow.Forward}
		if len(n.PartitionedBy) > 0 {
			// Kept by partition, it can be read beside others that are cut alike.
			x = dataflow.Exchange{Kind: dataflow.Hash, Columns: n.PartitionedBy}
		}
	}
	branches, err := c.expand(n.In[0])
	if err != nil {
		return 0, err
	}
	// Range partitioning with one partition needs no sample.
	if x.Kind == dataflow.Range && (x.Partitions == 1 || x.Partitions == 0 && c.options.Partitions == 1) {
		x.Kind, x.Partitions, x.Keys = dataflow.Single, 1, nil
	}
	sample := -1
	var extra []Input
	if x.Kind == dataflow.Range {
		if sample, err = c.sample(n, x, branches); err != nil {
			return 0, err
		}
		extra = []Input{{Mode: Whole, Source: -1, Exchange: sample, Node: -1}}
	}
	id := c.newExchange(x, n.In[0].Schema)
	c.exchange[n.ID] = id
	for _, b := range branches {
		if _, err := c.stage(b, n, Output{Exchange: id, Sink: -1, Sample: sample}, extra); err != nil {
			return 0, err
		}
	}
	return id, nil
}

func (c *compiler) newExchange(x dataflow.Exchange, schema *arrow.Schema) int {
	p := c.program.Plan
	id := len(p.Exchanges)
	p.Exchanges = append(p.Exchanges, Exchange{ID: id, Exchange: x, Fixed: x.Partitions > 0})
	c.program.exchanges = append(c.program.exchanges, schema)
	return id
}

// sample makes the stages that sample the keys of what will be partitioned by range:
// the same work over a few of its splits or partitions. Hash partitions hold random
// keys, so a few of them are a fair sample; splits are taken evenly.
func (c *compiler) sample(n *dataflow.Node, x dataflow.Exchange, branches []*tree) (int, error) {
	args := struct {
		Columns   []int `json:"columns"`
		Max       int   `json:"max"`
		StopAfter int   `json:"stop_after"`
	}{Max: sampleKeys, StopAfter: sampleRows}
	for _, k := range x.Keys {
		args.Columns = append(args.Columns, k.Column)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return 0, err
	}
	op, err := dataflow.NewOperator("sample", raw)
	if err != nil {
		return 0, at(n, err)
	}
	schema, err := op.Schema(n.In[0].Schema)
	if err != nil {
		return 0, at(n, err)
	}
	id := c.newExchange(dataflow.Exchange{Kind: dataflow.Broadcast, Partitions: 1}, schema)
	step := &dataflow.Node{ID: -1, Kind: dataflow.OperatorNode, Name: "sample", Site: n.Site, Ref: dataflow.Ref{Kind: "sample", Args: raw}, Schema: schema}
	for _, b := range branches {
		t := &tree{node: step, op: op, in: []*tree{b.clone()}, input: -1, path: []*dataflow.Node{step}}
		s, err := c.stage(t, nil, Output{Exchange: id, Sink: -1, Sample: -1}, nil)
		if err != nil {
			return 0, err
		}
		stage := &c.program.Plan.Stages[s]
		stage.MaxTasks = sampleSplits
		for _, in := range stage.Inputs {
			if in.Mode == ByPartition {
				stage.MaxTasks = samplePartitions
			}
		}
	}
	return id, nil
}

// checkInputs holds a stage to the rule stated at Input.
func checkInputs(s *Stage, t *tree) error {
	count := map[InputMode]int{}
	for _, in := range s.Inputs {
		count[in.Mode]++
	}
	switch {
	case count[BySplit] > 1, count[ByForward] > 1,
		count[BySplit]+count[ByForward] > 0 && count[ByPartition] > 0,
		count[BySplit] > 0 && count[ByForward] > 0:
		return at(t.node, fmt.Errorf("%s reads inputs that are cut differently: put an exchange before each", t.node.Name))
	}
	return nil
}

// choosePartitions settles the number of partitions of each exchange: all that one
// stage reads together have the same.
func (c *compiler) choosePartitions() error {
	p := c.program.Plan
	group := make([]int, len(p.Exchanges)) // union-find
	for i := range group {
		group[i] = i
	}
	find := func(i int) int {
		for group[i] != i {
			i = group[i]
		}
		return i
	}
	for _, s := range p.Stages {
		first := -1
		for _, in := range s.Inputs {
			if in.Mode != ByPartition {
				continue
			}
			if first < 0 {
				first = in.Exchange
				continue
			}
			group[find(in.Exchange)] = find(first)
		}
	}
	chosen := map[int]int{}
	for i := range p.Exchanges {
		x := &p.Exchanges[i]
		switch x.Kind {
		case dataflow.Single, dataflow.Broadcast, dataflow.Forward:
			x.Partitions = 1
			x.Fixed = true
		}
		if x.Kind == dataflow.Broadcast || x.Kind == dataflow.Forward || x.Partitions == 0 {
			continue
		}
		if have, ok := chosen[find(i)]; ok && have != x.Partitions {
			return fmt.Errorf("two inputs that are read together have %d and %d partitions: give both the same number", have, x.Partitions)
		}
		chosen[find(i)] = x.Partitions
	}
	for i := range p.Exchanges {
		x := &p.Exchanges[i]
		if x.Partitions > 0 {
			continue
		}
		switch n, ok := chosen[find(i)]; {
		case ok:
			x.Partitions, x.Fixed = n, true
		case c.options.Partitions > 0:
			x.Partitions, x.Fixed = c.options.Partitions, true
		default:
			x.Partitions = defaultPartitions(c.options.Slots, x.Kind)
		}
	}
	return nil
}

// leastPartitions and leastRanges are how many partitions there are at least. Ranges are
// more, because their tasks sort: one that fits the memory is not written out again.
const (
	leastPartitions = 16
	leastRanges     = 64
)

// defaultPartitions over-partitions, a power of two about six times the slots: the
// scheduler joins small neighbours once their real sizes are known.
func defaultPartitions(slots int, kind dataflow.ExchangeKind) int {
	least := leastPartitions
	if kind == dataflow.Range {
		least = leastRanges
	}
	n := max(slots, 1) * 4
	return min(max(1<<bits.Len(uint(n-1)), least), 1024)
}

// fingerprint is a hash of all that decides what a task does.
func fingerprint(g *dataflow.Graph, o Options) (string, error) {
	h := sha256.New()
	for _, n := range g.Nodes {
		row := struct {
			ID               int
			Kind             dataflow.NodeKind
			Name, Site, Type string
			In, Sides        []int
			Ref              dataflow.Ref
			Exchange         dataflow.Exchange
			Schema           string
			Partitioned      []int
			Sorted           []dataflow.SortKey
			Ordered          bool
		}{n.ID, n.Kind, n.Name, n.Site, "", ids(n.In), ids(n.Sides), n.Ref, n.Exchange, schemaText(n.Schema), n.PartitionedBy, n.SortedBy, n.Ordered}
		if n.Op != nil {
			row.Type = fmt.Sprintf("%T", n.Op)
		}
		b, err := json.Marshal(row)
		if err != nil {
			return "", err
		}
		h.Write(b)
		h.Write([]byte{'\n'})
	}
	b, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))[:32], nil
}

func ids(nodes []*dataflow.Node) []int {
	out := make([]int, len(nodes))
	for i, n := range nodes {
		out[i] = n.ID
	}
	return out
}

func schemaText(s *arrow.Schema) string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	for i, f := range s.Fields() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(f.Name + ": " + f.Type.String())
		if f.Nullable {
			b.WriteString("?")
		}
	}
	return b.String()
}

// describe names a source or sink for people: what it says of itself, else its kind.
func describe(x any, n *dataflow.Node) string {
	if s, ok := x.(fmt.Stringer); ok {
		return s.String()
	}
	return n.Ref.Kind
}

func at(n *dataflow.Node, err error) error {
	if n.Site == "" {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return fmt.Errorf("%s: %s: %w", n.Site, n.Name, err)
}
