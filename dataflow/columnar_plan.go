package dataflow

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// lowerTable makes the nodes of a table: the last one has its columns in order.
func lowerTable(t Table) *Node {
	l := &lowering{j: t.j}
	names := fieldNames(t.r.schema)
	if len(t.j.errs) > 0 { // the graph will not be used, and may be too broken to be made
		return t.j.add(&Node{Kind: SourceNode, Name: t.r.name, Site: t.r.site, Schema: t.r.schema})
	}
	out := l.lower(push(t.r, nil), names)
	return l.exactly(t.r, out, names).n
}

type lowering struct{ j *Job }

// lowered is a node that gives at least the columns that were asked for.
type lowered struct {
	n *Node
	// by names the columns whose hash says in which task a row is, in their order;
	// it is known only behind an exchange of the same stage.
	by []string
}

func fieldNames(s *arrow.Schema) []string {
	names := make([]string, s.NumFields())
	for i, f := range s.Fields() {
		names[i] = f.Name
	}
	return names
}

func columnRefs(names []string) []expr.Expr {
	out := make([]expr.Expr, len(names))
	for i, n := range names {
		out[i] = expr.Col(n)
	}
	return out
}

// with is a list of names and some more, each once.
func with(names []string, more ...string) []string {
	out := slices.Clone(names)
	for _, m := range more {
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// only is the names of a list that a schema has.
func only(names []string, s *arrow.Schema) []string {
	var out []string
	for _, n := range names {
		if s.HasField(n) {
			out = append(out, n)
		}
	}
	return out
}

func (l *lowering) lower(r *rel, need []string) lowered {
	switch r.op {
	case "scan":
		return l.scan(r, need, nil)
	case "where", "select":
		return l.fused(r, need)
	case "group":
		return l.group(r, need)
	case "join":
		return l.joined(r, need)
	case "window":
		return l.windowed(r, need)
	case "explode":
		return l.exploded(r, need)
	case "expand":
		return l.expand(r, need)
	case "union":
		return l.union(r, need)
	case "sort":
		return l.sorted(r, need)
	case "limit":
		args := struct {
			N int `json:"n"`
		}{r.limit}
		part := l.rowwise(r, r.name+" (partial)", "limit", args, l.lower(r.in[0], need))
		return l.operator(r, r.name, "limit", args, l.exchange(r, r.name+" (to one)", part, Exchange{Kind: Single}))
	case "cache":
		return l.cached(r)
	}
	panic("dataflow: no step " + r.op)
}

// node adds a node; its promises are stated by what is known of its partitioning.
func (l *lowering) node(r *rel, n *Node, by []string) lowered {
	n.Site = r.site
	var at []int
	for _, name := range by {
		i := n.Schema.FieldIndices(name)
		if len(i) == 0 {
			by, at = nil, nil
			break
		}
		at = append(at, i[0])
	}
	n.PartitionedBy = at
	return lowered{l.j.add(n), by}
}

// operator adds an operator of a registered kind.
func (l *lowering) operator(r *rel, name, kind string, args any, in ...lowered) lowered {
	raw, err := encodeExprArgs(args)
	var op Operator
	if err == nil {
		op, err = NewOperator(kind, raw)
	}
	n := &Node{Kind: OperatorNode, Name: name, Ref: Ref{Kind: kind, Args: raw}}
	var schemas []*arrow.Schema
	for _, i := range in {
		n.In, schemas = append(n.In, i.n), append(schemas, i.n.Schema)
	}
	if err == nil {
		n.Schema, err = op.Schema(schemas...)
	}
	if err != nil {
		l.j.report(fmt.Errorf("%s (%s): %w", name, r.site, err))
		n.Schema = r.schema
	}
	return l.node(r, n, in[0].by)
}

// rowwise is operator for one that deals with each row by itself, see Node.Rowwise.
func (l *lowering) rowwise(r *rel, name, kind string, args any, in lowered) lowered {
	out := l.operator(r, name, kind, args, in)
	out.n.Rowwise = true
	return out
}

func (l *lowering) exchange(r *rel, name string, in lowered, x Exchange) lowered {
	n := &Node{Kind: ExchangeNode, Name: name, In: []*Node{in.n}, Schema: in.n.Schema, Exchange: x}
	var by []string
	if x.Kind == Hash {
		for _, c := range x.Columns {
			by = append(by, in.n.Schema.Field(c).Name)
		}
	}
	return l.node(r, n, by)
}

// exactly gives just these columns in this order.
func (l *lowering) exactly(r *rel, in lowered, names []string) lowered {
	if slices.Equal(fieldNames(in.n.Schema), names) {
		return in
	}
	return l.selected(r, r.name+" (columns)", in, columnRefs(names), names, nil)
}

// selected adds a select of columns and conditions on in.
func (l *lowering) selected(r *rel, name string, in lowered, cols []expr.Expr, names []string, conds []expr.Expr) lowered {
	args := selectArgs{}
	if len(conds) > 0 {
		args.Where = expr.All(conds...)
	}
	var by []string
	for i, c := range cols {
		args.Columns = append(args.Columns, wireColumn{names[i], c})
	}
	for _, b := range in.by {
		for i, c := range cols {
			if have, ok := c.Column(); ok && have == b {
				by = append(by, names[i])
				break
			}
		}
	}
	if len(by) < len(in.by) {
		by = nil
	}
	ordered, sorted := in.n.Ordered, in.n.SortedBy
	in.by = by
	out := l.rowwise(r, name, "select", args, in)
	if sorted != nil { // rows keep their order; it is stated if its columns are there
		var keys []SortKey
		for _, k := range sorted {
			at := slices.IndexFunc(cols, func(c expr.Expr) bool {
				name, ok := c.Column()
				return ok && name == in.n.Schema.Field(k.Column).Name
			})
			if at < 0 {
				return out
			}
			keys = append(keys, SortKey{at, k.Descending})
		}
		out.n.SortedBy, out.n.Ordered = keys, ordered
	}
	return out
}

// scan reads a source: the columns that are needed, and of files only the parts in
// which the conditions, which are tested later, may hold.
func (l *lowering) scan(r *rel, need []string, conds []expr.Expr) lowered {
	if r.node != nil {
		var by []string
		if fromHash(r.node) {
			for _, c := range r.node.PartitionedBy {
				by = append(by, r.schema.Field(c).Name)
			}
		}
		in := lowered{r.node, by}
		if len(need) == 0 || len(need) == r.schema.NumFields() {
			return in
		}
		return l.exactly(r, in, need)
	}
	ref, schema := r.source, r.schema
	if ref.Kind == "files" {
		args, err := readColumns(ref.Args, need, conds)
		if err != nil {
			l.j.report(fmt.Errorf("%s: %w", r.name, err))
		}
		ref.Args = args
		fields := make([]arrow.Field, len(need))
		for i, name := range need {
			at, _ := schema.FieldsByName(name)
			fields[i] = at[0]
		}
		schema = arrow.NewSchema(fields, nil)
	}
	return l.node(r, &Node{Kind: SourceNode, Name: r.name, Ref: ref, Schema: schema}, nil)
}

// fromHash reports whether a node is in the stage that a hash exchange feeds.
func fromHash(n *Node) bool {
	for n.Kind == OperatorNode {
		n = n.In[0]
	}
	return n.Kind == ExchangeNode && n.Exchange.Kind == Hash
}

// fused makes one operator of the selects and wheres from r down.
func (l *lowering) fused(r *rel, need []string) lowered {
	below, cols, conds := rowsBelow(r, columnRefs(need))
	in := l.input(below, append(slices.Clone(cols), conds...), conds)
	return l.selected(r, withNames(r.in[0], below, r.name), in, cols, need, conds)
}

// withNames is the name of an operator that also tests the conditions of the steps from r
// down to those below: with the names that their author gave them.
func withNames(r, below *rel, name string) string {
	for ; r != below; r = r.in[0] {
		if r.op == "where" && r.name != whereName {
			name = r.name + "+" + name
		}
	}
	return name
}

// input lowers what lies below an operator that looks at some expressions.
func (l *lowering) input(below *rel, es, conds []expr.Expr) lowered {
	need := expr.Columns(es...)
	if len(need) == 0 { // rows are counted, not looked at: the narrowest column will do
		need = []string{narrowest(below.schema)}
	}
	if below.op == "scan" {
		return l.scan(below, need, conds)
	}
	return l.lower(below, need)
}

func narrowest(s *arrow.Schema) string {
	best, width := "", 1<<30
	for _, f := range s.Fields() {
		w := 1 << 20
		if t, ok := f.Type.(arrow.FixedWidthDataType); ok {
			w = t.BitWidth()
		}
		if w < width {
			best, width = f.Name, w
		}
	}
	return best
}

func (l *lowering) group(r *rel, need []string) lowered {
	var aggs []Agg
	for _, a := range r.aggs {
		if slices.Contains(need, a.name) {
			aggs = append(aggs, a)
		}
	}
	parts := splitAggs(aggs, r.in[0].schema)
	// What keys and aggregates look at, in terms of the rows below.
	var es []expr.Expr
	for _, k := range r.keys {
		es = append(es, k.Expr)
	}
	for _, a := range parts.partial {
		if a.Expr.IsZero() {
			a.Expr = expr.Lit(true)
		}
		es = append(es, a.Expr)
	}
	below, es, conds := rowsBelow(r.in[0], es)
	args := aggregateArgs{Mode: "partial"}
	if len(conds) > 0 {
		args.Where = expr.All(conds...)
	}
	keyOf := map[string]string{} // column below -> key
	for i, k := range r.keys {
		args.Keys = append(args.Keys, wireColumn{k.Name, es[i]})
		if c, ok := es[i].Column(); ok {
			keyOf[c] = k.Name
		}
	}
	for i, a := range parts.partial {
		if !a.Expr.IsZero() {
			a.Expr = es[len(r.keys)+i]
		}
		args.Aggs = append(args.Aggs, a)
	}
	if len(args.Keys)+len(args.Aggs) == 0 { // only that the one group is there counts
		args.Aggs, parts.final = []wireAgg{{"(rows)", "count", expr.Expr{}}}, []wireAgg{{"(rows)", "sum0", expr.Col("(rows)")}}
	}
	in := l.input(below, append(es, conds...), conds)
	var out lowered
	if met := len(in.by) > 0 && r.parts == 0 && !slices.ContainsFunc(in.by, func(b string) bool { return keyOf[b] == "" }); met {
		args.Mode, args.Aggs = "final", parts.whole(args.Aggs) // groups are together already
		var by []string
		for _, b := range in.by {
			by = append(by, keyOf[b])
		}
		in.by = by
		out = l.operator(r, withNames(r.in[0], below, r.name), "aggregate", args, in)
	} else {
		in.by = nil
		part := l.rowwise(r, withNames(r.in[0], below, r.name+" (partial)"), "aggregate", args, in)
		x := Exchange{Kind: Single}
		if len(r.keys) > 0 {
			x = Exchange{Kind: Hash, Partitions: r.parts}
			for i := range r.keys {
				x.Columns = append(x.Columns, i)
			}
		}
		moved := l.exchange(r, r.name+" (exchange)", part, x)
		parts.typed(r.schema)
		final := aggregateArgs{Mode: "final", Aggs: parts.final}
		for _, k := range r.keys {
			final.Keys = append(final.Keys, wireColumn{k.Name, expr.Col(k.Name)})
		}
		out = l.operator(r, r.name, "aggregate", final, moved)
	}
	if parts.plain && (args.Mode == "partial" || len(parts.sketches) == 0) {
		return out
	}
	var cols []expr.Expr
	var names []string
	for _, c := range parts.finish(r.keys) {
		cols, names = append(cols, c.Expr), append(names, c.Name)
	}
	return l.selected(r, r.name+" (means)", out, cols, names, nil)
}

// hashJoinArgs are joinArgs and the columns that come out.
type hashJoinArgs struct {
	joinArgs
	LeftColumns  []int `json:"left_columns"`
	RightColumns []int `json:"right_columns"`
}

func (l *lowering) joined(r *rel, need []string) lowered {
	var lk, rk []string
	for _, p := range r.join.on {
		lk, rk = append(lk, p.left), append(rk, p.right)
	}
	pairs := r.join.how != "semi" && r.join.how != "anti"
	wantL := only(need, r.in[0].schema)
	var wantR []string
	if pairs {
		wantR = only(need, r.in[1].schema)
	}
	left, right := l.lower(r.in[0], with(wantL, lk...)), l.lower(r.in[1], with(wantR, rk...))
	args := hashJoinArgs{joinArgs: joinArgs{Type: r.join.how, Build: "auto"}}
	if r.join.broadcast {
		args.Build = "right"
		right = l.exchange(r, r.name+" (right, to all)", right, Exchange{Kind: Broadcast})
	} else {
		left, right = l.meet(r, r.name+" (left)", left, lk), l.meet(r, r.name+" (right)", right, rk)
	}
	place := func(n *Node, names []string) []int {
		at := []int{}
		for _, name := range names {
			at = append(at, n.Schema.FieldIndices(name)[0])
		}
		return at
	}
	args.LeftKeys, args.RightKeys = place(left.n, lk), place(right.n, rk)
	if len(wantL)+len(wantR) == 0 { // rows are counted
		wantL = lk[:1]
	}
	args.LeftColumns, args.RightColumns = place(left.n, wantL), place(right.n, wantR)
	out := left
	if r.join.how == "full" {
		out.by = nil
	}
	pair := l.operator(r, r.name, "hashjoin", args, out, right)
	pair.n.Rowwise = leftAlone(r.join.how)
	return pair
}

// meet brings rows with equal keys together, unless they are.
func (l *lowering) meet(r *rel, name string, in lowered, keys []string) lowered {
	if r.parts == 0 && slices.Equal(in.by, keys) && fromHash(in.n) {
		return in
	}
	x := Exchange{Kind: Hash, Partitions: r.parts}
	for _, k := range keys {
		x.Columns = append(x.Columns, in.n.Schema.FieldIndices(k)[0])
	}
	return l.exchange(r, name, in, x)
}

func (l *lowering) union(r *rel, need []string) lowered {
	n := &Node{Kind: UnionNode, Name: r.name}
	if len(need) == 0 {
		need = []string{narrowest(r.schema)}
	}
	for _, in := range r.in {
		n.In = append(n.In, l.exactly(in, l.lower(in, need), need).n)
	}
	n.Schema = n.In[0].Schema
	return l.node(r, n, nil)
}

func (l *lowering) sorted(r *rel, need []string) lowered {
	for _, c := range r.sort {
		need = with(need, c.name)
	}
	in := l.lower(r.in[0], need)
	keys := sortKeys(r.sort, in.n.Schema)
	var out lowered
	if r.limit > 0 {
		args := topArgs{keys, r.limit}
		part := l.rowwise(r, r.name+" (partial)", "topn", args, in)
		out = l.operator(r, r.name, "topn", args, l.exchange(r, r.name+" (to one)", part, Exchange{Kind: Single}))
	} else {
		moved := l.exchange(r, r.name+" (ranges)", in, Exchange{Kind: Range, Keys: slices.Clone(keys), Partitions: r.parts})
		out = l.operator(r, r.name, "sort", sortArgs{keys}, moved)
	}
	out.n.SortedBy, out.n.Ordered = keys, true
	return out
}

// cached makes a cache once, whoever reads it.
func (l *lowering) cached(r *rel) lowered {
	if n, ok := l.j.caches[r]; ok {
		return lowered{n: n}
	}
	names := fieldNames(r.schema)
	in := l.exactly(r, l.lower(push(r.in[0], nil), names), names)
	n := &Node{Kind: CacheNode, Name: r.name, In: []*Node{in.n}, Schema: in.n.Schema}
	out := l.node(r, n, nil)
	if l.j.caches == nil {
		l.j.caches = map[*rel]*Node{}
	}
	l.j.caches[r] = out.n
	return out
}

// readColumns is the arguments of a source of files, with what need not be read.
func readColumns(args []byte, columns []string, conds []expr.Expr) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(args, &all); err != nil {
		return nil, err
	}
	cols, err := json.Marshal(columns)
	if err != nil {
		return nil, err
	}
	all["columns"] = cols
	if len(conds) > 0 {
		if all["predicate"], err = json.Marshal(expr.All(conds...)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(all) // keys in order: the same in every process
}
