package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Bind checks expressions against the columns of a schema: names, types, numbers of
// arguments. What is constant is worked out here, what occurs twice is worked out
// once.
func Bind(schema *arrow.Schema, es ...Expr) (*Bound, error) {
	return bind(schema, es)
}

// BindFilter is Bind for conditions that rows must all fulfil, for Select. The
// cheap ones are looked at first, and each only at the rows that are left.
func BindFilter(schema *arrow.Schema, es ...Expr) (*Bound, error) {
	var parts []Expr
	for _, e := range es {
		if e.IsZero() {
			return nil, errors.New("a condition is missing")
		}
		parts = append(parts, Conjuncts(e)...)
	}
	b, err := bind(schema, parts)
	if err != nil {
		return nil, err
	}
	for i, f := range b.fields {
		if f.Type.ID() != arrow.BOOL && f.Type.ID() != arrow.NULL {
			return nil, fmt.Errorf("%s is no condition: it is of type %s", parts[i], TypeName(f.Type))
		}
	}
	slices.SortStableFunc(b.roots, func(x, y *bnode) int {
		if x.fails != y.fails {
			return int(b2u(x.fails)) - int(b2u(y.fails))
		}
		return x.cost - y.cost
	})
	return b, nil
}

func bind(schema *arrow.Schema, es []Expr) (*Bound, error) {
	b := &binder{schema: schema, known: map[string]*bnode{}}
	out := &Bound{}
	for _, e := range es {
		n, err := b.bind(e)
		if err != nil {
			return nil, err
		}
		name := e.String()
		f := arrow.Field{Name: name, Type: n.typ, Nullable: n.nullable}
		out.fields, out.roots = append(out.fields, f), append(out.roots, n)
	}
	out.nodes = b.n
	return out, nil
}

type binder struct {
	schema *arrow.Schema
	known  map[string]*bnode // by operation and arguments
	n      int
}

func (b *binder) bind(e Expr) (*bnode, error) {
	if e.n == nil {
		return nil, errors.New("an expression is missing")
	}
	switch {
	case e.n.err != nil:
		return nil, e.n.err
	case e.n.op == opLit:
		return b.literal(e.n.lit), nil
	case e.n.op == opCol:
		return b.column(e.n.name)
	}
	args := make([]*bnode, len(e.n.args))
	for i, a := range e.n.args {
		var err error
		if args[i], err = b.bind(a); err != nil {
			return nil, err
		}
	}
	make, ok := operations[e.n.op]
	if !ok {
		return nil, fmt.Errorf("there is no operation %q", e.n.op)
	}
	n, err := make(b, e.n, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e, err)
	}
	return n, nil
}

func (b *binder) column(name string) (*bnode, error) {
	at := b.schema.FieldIndices(name)
	if len(at) != 1 {
		var names []string
		for _, f := range b.schema.Fields() {
			names = append(names, f.Name)
		}
		if len(at) > 1 {
			return nil, fmt.Errorf("there are %d columns %q: rename one", len(at), name)
		}
		return nil, fmt.Errorf("there is no column %q (the columns are %s)", name, strings.Join(names, ", "))
	}
	f := b.schema.Field(at[0])
	if f.Type.ID() == arrow.NULL {
		return b.literal(literal{typ: f.Type, null: true}), nil
	}
	return b.add(fmt.Sprintf("col %d", at[0]), &bnode{op: opCol, typ: f.Type, nullable: f.Nullable, col: at[0], cost: 1, text: name}), nil
}

func (b *binder) literal(l literal) *bnode {
	return b.add("lit "+TypeName(l.typ)+" "+fmt.Sprint(l.null)+l.word(), &bnode{op: opLit, typ: l.typ, nullable: l.null, col: -1, lit: constant(l), text: l.String()})
}

// add gives the node, or the one that is just like it.
func (b *binder) add(key string, n *bnode) *bnode {
	if have, ok := b.known[key]; ok {
		return have
	}
	n.id = b.n
	b.n++
	b.known[key] = n
	return n
}

// node makes a node of an operation, or its value where all its arguments are
// constant. extra tells operations apart that differ in more than their arguments.
func (b *binder) node(n *bnode, extra string) *bnode {
	n.col = -1
	key := n.op + " " + extra
	constant := true
	var parts []string
	for _, a := range n.args {
		key += fmt.Sprintf(" %d", a.id)
		n.cost += a.cost
		n.fails = n.fails || a.fails
		constant = constant && a.lit != nil
		parts = append(parts, a.text)
	}
	n.cost += 2
	n.text = n.op + "(" + strings.Join(parts, ", ") + ")"
	if word, ok := infix[n.op]; ok && len(parts) == 2 {
		n.text = "(" + parts[0] + " " + word + " " + parts[1] + ")"
	}
	if constant && n.op != "call" {
		if l, ok := fold(n); ok {
			l.typ = n.typ
			return b.literal(l)
		}
	}
	return b.add(key, n)
}

// fold is the value of a node with constant arguments. One that fails is left as it
// is: perhaps no row ever asks for it.
func fold(n *bnode) (literal, bool) {
	one := array.NewRecordBatch(arrow.NewSchema(nil, nil), nil, 1)
	e := &Evaluator{Bound: &Bound{nodes: n.id + 1}}
	e.begin(one)
	f := e.frame(nil)
	v, err := f.work(n)
	if err != nil {
		return literal{}, false
	}
	return v.at(0), true
}

// strict adds a node of an operation that is null where an argument is.
func (b *binder) strict(op string, t arrow.DataType, args []*bnode, f func(f *frame, a []*vec) (*vec, error)) *bnode {
	return b.strictX(op, "", t, 0, false, args, f)
}

func (b *binder) strictX(op, extra string, t arrow.DataType, cost int, fails bool, args []*bnode, f func(f *frame, a []*vec) (*vec, error)) *bnode {
	n := &bnode{op: op, typ: t, args: args, strict: f, fails: fails, cost: cost}
	for _, a := range args {
		n.nullable = n.nullable || a.nullable
		if a.lit != nil && a.lit.allNull() {
			return b.literal(literal{typ: t, null: true})
		}
	}
	return b.node(n, extra+" "+TypeName(t))
}

type operation func(b *binder, n *node, args []*bnode) (*bnode, error)

// operations are those that an expression can name.
var operations map[string]operation

func init() {
	operations = map[string]operation{
		"add": arithmetic, "sub": arithmetic, "mul": arithmetic, "div": division, "idiv": intDivision, "mod": intDivision,
		"neg": negation, "abs": negation,
		"eq": comparison, "ne": comparison, "lt": comparison, "le": comparison, "gt": comparison, "ge": comparison,
		"and": logic, "or": logic, "not": not, "isnull": isNull, "in": in, "case": cases, "coalesce": coalesce, "cast": cast,
		"like": match, "matches": match, "substr": substr, "position": position, "length": length,
		"upper": textMap, "lower": textMap, "trim": textMap, "ltrim": textMap, "rtrim": textMap, "concat": concat,
		"year": datePart, "month": datePart, "day": datePart, "quarter": datePart, "weekday": datePart, "hour": datePart, "minute": datePart, "second": datePart,
		"truncate": truncate, "addmonths": addCalendar, "adddays": addCalendar, "call": callFunction,
	}
}

func want(args []*bnode, n int) error {
	if len(args) != n {
		return fmt.Errorf("takes %d arguments, not %d", n, len(args))
	}
	return nil
}

func wantAll(args []*bnode, what string, ok func(arrow.DataType) bool) error {
	for _, a := range args {
		if !ok(a.typ) && a.typ.ID() != arrow.NULL {
			return fmt.Errorf("%s is of type %s, not %s", a.text, TypeName(a.typ), what)
		}
	}
	return nil
}

func isText(t arrow.DataType) bool { return kindOf(t) == kText }
