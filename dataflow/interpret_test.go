package dataflow

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/divisi-data/divisi/internal/race"
)

// An interpreter runs a graph in one goroutine and in memory: tasks of a node one
// after the other, exchanges by moving rows one by one. It fuses as the planner
// does when fuse is set. Its results are the same for every setting of its fields.
type interpreter struct {
	t         *testing.T
	mem       *memory.CheckedAllocator
	g         *Graph
	batchRows int
	parts     int
	fuse      bool
	limit     int64 // of memory, 0: none
	noSpill   bool
	real      bool // operators of package ops, not the plain ones

	done     map[*Node][][]Batch
	counters *Counters
	files    func(string) (string, error)
	spilled  int
}

// build runs a build function.
func build(t *testing.T, f func(*Job), args ...string) *Graph {
	t.Helper()
	j := NewJob("test", args)
	f(j)
	g, err := j.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// settings calls f with several ways to run the same graph.
func settings(t *testing.T, f func(t *testing.T, in *interpreter)) {
	for i, s := range []struct {
		rows, parts int
		fuse        bool
		limit       int64
		real        bool
	}{{1, 1, true, 0, false}, {3, 2, false, 0, true}, {1 << 16, 4, true, 0, false}, {7, 3, true, 80 << 10, false}, {64, 3, true, 0, true}} {
		if i < race.Tries(0, 0, 3) { // the last two have the most to do with each other
			continue
		}
		t.Run(fmt.Sprintf("batch=%d,parts=%d,fuse=%v,limit=%d,real=%v", s.rows, s.parts, s.fuse, s.limit, s.real), func(t *testing.T) {
			f(t, &interpreter{t: t, batchRows: s.rows, parts: s.parts, fuse: s.fuse, limit: s.limit, real: s.real})
		})
	}
}

func (in *interpreter) env() *Env {
	env := NewEnv(context.Background())
	env.Alloc = in.mem
	env.BatchRows = in.batchRows
	env.Counters = in.counters
	env.File = in.files
	env.Memory = NewMemory("test", in.limit)
	if !in.noSpill {
		env.Spill = memorySpill{in}
	}
	env.Side = func(_ context.Context, id int) (Stream, error) {
		var all []Batch
		for _, task := range in.rows(in.g.Nodes[id]) {
			all = append(all, task...)
		}
		return in.stream(all), nil
	}
	return env
}

// collect is all that a graph writes to its n-th sink, by task.
func collect[T any](in *interpreter, g *Graph, n int) [][]T {
	in.t.Helper()
	out, err := tryCollect[T](in, g, n)
	if err != nil {
		in.t.Fatal(err)
	}
	return out
}

func tryCollect[T any](in *interpreter, g *Graph, n int) (out [][]T, err error) {
	in.mem = memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer in.mem.AssertSize(in.t, 0)
	in.g, in.done, in.counters = g, map[*Node][][]Batch{}, NewCounters()
	defer in.release()
	defer func() {
		if v := recover(); v != nil {
			e, ok := v.(interpretError)
			if !ok {
				panic(v)
			}
			err = e.error
		}
	}()
	var sinks []*Node
	for _, node := range g.Nodes {
		if node.Kind == SinkNode {
			sinks = append(sinks, node)
		}
	}
	c, err := codecOf[T]()
	if err != nil {
		return nil, err
	}
	for _, task := range in.rows(sinks[n].In[0]) {
		var vs []T
		for _, b := range task {
			if err := c.accepts(b.Schema()); err != nil {
				return nil, err
			}
			get := c.reader(b)
			for i := range int(b.NumRows()) {
				v := new(T)
				get(i, unsafe.Pointer(v))
				vs = append(vs, *v)
			}
		}
		out = append(out, vs)
	}
	return out, nil
}

type interpretError struct{ error }

func (in *interpreter) check(err error) {
	if err != nil {
		panic(interpretError{err})
	}
}

func (in *interpreter) release() {
	for _, tasks := range in.done {
		for _, task := range tasks {
			for _, b := range task {
				b.Release()
			}
		}
	}
}

// rows is what a node makes, by task. The batches stay the interpreter's.
func (in *interpreter) rows(n *Node) [][]Batch {
	if out, ok := in.done[n]; ok {
		return out
	}
	var out [][]Batch
	switch n.Kind {
	case SourceNode:
		src, err := NewSource(n.Ref.Kind, n.Ref.Args)
		in.check(err)
		splits, err := src.Splits(context.Background(), SplitHint{Slots: in.parts})
		in.check(err)
		for _, s := range splits {
			env := in.env()
			st, err := src.Open(env, s)
			in.check(err)
			out = append(out, in.drain(st))
		}
	case OperatorNode:
		out = in.operator(n)
	case UnionNode:
		for _, i := range n.In {
			out = append(out, retained(in.rows(i))...)
		}
	case CacheNode:
		out = retained(in.rows(n.In[0]))
	case ExchangeNode:
		out = in.exchange(n)
	}
	in.done[n] = out
	in.promises(n, out)
	return out
}

// promises checks what a node says of its rows.
func (in *interpreter) promises(n *Node, tasks [][]Batch) {
	var before string
	home := map[string]int{}
	for i, task := range tasks {
		if !n.Ordered {
			before = ""
		}
		for _, b := range task {
			for row := range int(b.NumRows()) {
				if len(n.SortedBy) > 0 {
					key := testKey(b, n.SortedBy, row)
					if key < before {
						in.t.Fatalf("%s promises the order %v and breaks it", n.Name, n.SortedBy)
					}
					before = key
				}
				if len(n.PartitionedBy) > 0 {
					var key string
					for _, c := range n.PartitionedBy {
						key += b.Column(c).ValueStr(row) + "\x00"
					}
					if at, met := home[key]; met && at != i {
						in.t.Fatalf("%s promises rows alike in %v in one task, and %q is in two", n.Name, n.PartitionedBy, key)
					}
					home[key] = i
				}
			}
		}
	}
}

func retained(tasks [][]Batch) [][]Batch {
	out := slices.Clone(tasks)
	for _, task := range out {
		for _, b := range task {
			b.Retain()
		}
	}
	return out
}

func (in *interpreter) operator(n *Node) [][]Batch {
	op, from := in.operatorOf(n), n.In
	for in.fuse && len(from) == 1 && from[0].Kind == OperatorNode {
		f, ok := op.(Fuser)
		if !ok {
			break
		}
		fused, ok := f.FuseAfter(in.operatorOf(from[0]))
		if !ok {
			break
		}
		op, from = fused, from[0].In
	}
	var inputs [][][]Batch
	var schemas []*arrow.Schema
	tasks := 0
	for _, i := range from {
		rows := in.rows(i)
		inputs = append(inputs, rows)
		schemas = append(schemas, i.Schema)
		if i.Kind != ExchangeNode || i.Exchange.Kind != Broadcast {
			tasks = max(tasks, len(rows))
		}
	}
	schema, err := op.Schema(schemas...)
	in.check(err)
	if len(n.Schema.Fields()) > 0 && n.Schema.String() != schema.String() {
		in.t.Errorf("%s says %v, its node %v", n.Name, schema, n.Schema)
	}
	var out [][]Batch
	defer func() { // what a failed node made before is nobody's
		if v := recover(); v != nil {
			for _, b := range slices.Concat(out...) {
				b.Release()
			}
			panic(v)
		}
	}()
	if len(schemas) == 2 {
		plannedSides = [2]*arrow.Schema(schemas)
	}
	for i := range max(1, tasks) {
		var ss []Stream
		for k, rows := range inputs {
			if from[k].Kind == ExchangeNode && from[k].Exchange.Kind == Broadcast {
				ss = append(ss, in.stream(rows[0]))
			} else if i < len(rows) {
				ss = append(ss, in.stream(rows[i]))
			} else {
				ss = append(ss, in.stream(nil))
			}
		}
		env := in.env()
		env.Task.Index = i
		st, err := op.Open(env, ss...)
		in.check(err)
		out = append(out, in.drain(st))
		if used := env.Memory.Used(); used != 0 {
			in.t.Errorf("%s still holds %d bytes", n.Name, used)
		}
	}
	return out
}

func (in *interpreter) operatorOf(n *Node) Operator {
	if n.Op != nil {
		return n.Op
	}
	if in.real {
		op, err := NewOperator(n.Ref.Kind, n.Ref.Args)
		in.check(err)
		return op
	}
	op, ok := plainOperator(n.Ref.Kind, n.Ref.Args)
	if !ok {
		in.t.Fatalf("no operator of kind %s", n.Ref.Kind)
	}
	return op
}

// exchange moves rows: slices of one row each, so that order and batches are odd.
func (in *interpreter) exchange(n *Node) [][]Batch {
	parts := in.parts
	if n.Exchange.Partitions > 0 {
		parts = n.Exchange.Partitions
	}
	if n.Exchange.Kind == Single || n.Exchange.Kind == Broadcast {
		parts = 1
	}
	tasks := in.rows(n.In[0])
	out := make([][]Batch, parts)
	var bounds []string
	if n.Exchange.Kind == Range {
		bounds = in.bounds(n, tasks, parts)
	}
	row := 0
	for _, task := range tasks {
		for _, b := range task {
			for i := range b.NumRows() {
				p := 0
				switch n.Exchange.Kind {
				case Hash:
					h := uint64(0)
					for _, c := range n.Exchange.Columns {
						h = hashString(b.Column(c).ValueStr(int(i)), h)
					}
					p = int(h % uint64(parts))
				case Spread:
					p = row % parts
				case Direct:
					var v int
					fmt.Sscan(b.Column(n.Exchange.Columns[0]).ValueStr(int(i)), &v)
					p = v % parts
				case Range:
					key := testKey(b, n.Exchange.Keys, int(i))
					p, _ = slices.BinarySearch(bounds, key)
				}
				row++
				out[p] = append(out[p], b.NewSlice(i, i+1))
			}
		}
	}
	return out
}

func (in *interpreter) stream(bs []Batch) Stream {
	for _, b := range bs {
		b.Retain()
	}
	return &batchStream{bs: slices.Clone(bs)}
}

func (in *interpreter) drain(s Stream) []Batch {
	var out []Batch
	for {
		b, err := s.Next(context.Background())
		if err != nil {
			if _, again := s.Next(context.Background()); again == nil || again.Error() != err.Error() {
				in.t.Errorf("Next says %v, and then %v", err, again)
			}
			in.check(s.Close())
			in.check(s.Close())
			if err != io.EOF {
				for _, b := range out {
					b.Release()
				}
				in.check(err)
			}
			return out
		}
		if b.NumRows() == 0 {
			in.t.Error("an empty batch")
		}
		out = append(out, b)
	}
}

type batchStream struct{ bs []Batch }

func (s *batchStream) Next(context.Context) (Batch, error) {
	if len(s.bs) == 0 {
		return nil, io.EOF
	}
	b := s.bs[0]
	s.bs = s.bs[1:]
	return b, nil
}

func (s *batchStream) Close() error {
	for _, b := range s.bs {
		b.Release()
	}
	s.bs = nil
	return nil
}

func (s *batchStream) Locate(row int) string { return fmt.Sprintf("input:%d", row) }

// memorySpill keeps runs in memory that nobody counts.
type memorySpill struct{ in *interpreter }

type memoryRun struct {
	in *interpreter
	bs []Batch
	n  int64
}

func (m memorySpill) Create(*Env, string, *arrow.Schema) (SpillWriter, error) {
	m.in.spilled++
	return &memoryRun{in: m.in}, nil
}

func (r *memoryRun) Write(b Batch) error {
	b.Retain()
	r.bs = append(r.bs, b)
	r.n += b.NumRows()
	return nil
}

func (r *memoryRun) Finish() (SpillRun, error) { return r, nil }
func (r *memoryRun) Abort()                    { _ = r.Remove() }
func (r *memoryRun) Open() (Stream, error)     { return r.in.stream(r.bs), nil }
func (r *memoryRun) Rows() int64               { return r.n }
func (r *memoryRun) Bytes() int64              { return r.n }
func (r *memoryRun) Remove() error {
	for _, b := range r.bs {
		b.Release()
	}
	r.bs = nil
	return nil
}

// flat is all tasks' rows, one after the other.
func flat[T any](tasks [][]T) []T { return slices.Concat(tasks...) }

func (in *interpreter) bounds(n *Node, tasks [][]Batch, parts int) []string {
	var all []string
	for _, task := range tasks {
		for _, b := range task {
			for i := range int(b.NumRows()) {
				all = append(all, testKey(b, n.Exchange.Keys, i))
			}
		}
	}
	slices.Sort(all)
	var bounds []string
	for i := 1; i < parts && len(all) > 0; i++ {
		bounds = append(bounds, all[len(all)*i/parts])
	}
	return slices.Compact(bounds)
}
