package expr

import (
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A Function is an author's own operation on whole columns, for Call.
type Function struct {
	Name string
	// Type is the type of the result, given those of the arguments, or why they do
	// not fit. The result counts as nullable.
	Type func(args []arrow.DataType) (arrow.DataType, error)
	// Eval makes a column of rows values; the arguments stay the caller's, the
	// result is its too. It gives the same values whenever it is called, and is
	// called from many goroutines.
	Eval func(mem memory.Allocator, args []arrow.Array, rows int) (arrow.Array, error)
}

var functions = struct {
	sync.RWMutex
	m map[string]Function
}{m: map[string]Function{}}

// Register makes a function known, in every process of a job: call it from init. A
// second one of a name panics.
func Register(fn Function) {
	functions.Lock()
	defer functions.Unlock()
	if _, twice := functions.m[fn.Name]; twice {
		panic("expr: two functions are called " + fn.Name)
	}
	functions.m[fn.Name] = fn
}

func callFunction(b *binder, n *node, args []*bnode) (*bnode, error) {
	functions.RLock()
	fn, ok := functions.m[n.name]
	functions.RUnlock()
	if !ok {
		return nil, fmt.Errorf("no function %q is registered in this program", n.name)
	}
	types := make([]arrow.DataType, len(args))
	for i, a := range args {
		types[i] = a.typ
	}
	t, err := fn.Type(types)
	if err != nil {
		return nil, err
	}
	if kindOf(t) == kNone {
		return nil, fmt.Errorf("a result of type %s cannot be worked on", t)
	}
	node := &bnode{op: "call", typ: t, nullable: true, args: args, fails: true, cost: 50}
	node.lazy = func(f *frame, n *bnode) (*vec, error) {
		in := make([]arrow.Array, 0, len(n.args))
		defer func() {
			for _, a := range in {
				a.Release()
			}
		}()
		for _, arg := range n.args {
			a, err := f.array(arg, arg.typ)
			if err != nil {
				return nil, err
			}
			in = append(in, a)
		}
		out, err := fn.Eval(f.mem, in, f.n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fn.Name, err)
		}
		defer out.Release()
		if out.Len() != f.n || !arrow.TypeEqual(out.DataType(), t) {
			return nil, fmt.Errorf("%s gave %d values of type %s, not %d of %s", fn.Name, out.Len(), out.DataType(), f.n, t)
		}
		return f.copied(out)
	}
	return b.node(node, n.name), nil
}

// copied is load of an array that is released before the value is used.
func (f *frame) copied(a arrow.Array) (*vec, error) {
	whole := &frame{Evaluator: f.Evaluator, n: f.n}
	v, err := whole.load(a)
	if err != nil {
		return nil, err
	}
	own := *v
	own.i32 = append(f.i32.get(len(v.i32))[:0], v.i32...)
	own.i64 = append(f.i64.get(len(v.i64))[:0], v.i64...)
	own.dec = append(f.dec.get(len(v.dec))[:0], v.dec...)
	own.f64 = append(f.f64.get(len(v.f64))[:0], v.f64...)
	if v.kind == kText {
		own.from = append(f.i32.get(f.n)[:0], v.from...)
		own.to = append(f.i32.get(f.n)[:0], v.to...)
		own.data = append([]byte(nil), v.data...)
	}
	return &own, nil
}
