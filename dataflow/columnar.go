package dataflow

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// A Table is rows in named columns that a job will make, worked on by column
// expressions instead of functions: a step of the job, as a Dataset is. It is
// immutable and may be used several times; what is used twice is computed twice,
// unless it is Cached.
//
//	orders := df.ReadTable(j, df.FromParquet[df.Table](j.Arg(0)))
//	late := orders.Where(expr.Col("shipped").Gt(expr.Col("promised")))
//	df.WriteTable(late.GroupBy("region").Agg(df.CountRows("n")), df.CSV[df.Table](j.Arg(1)))
//
// Conditions move towards the source, columns that nobody looks at are not read,
// and groups are gathered where their rows are before they are sent.
type Table struct {
	j *Job
	r *rel
}

// rel is a step of a Table, before it is made into nodes.
type rel struct {
	op     string // scan, where, select, group, join, window, explode, expand, union, sort, limit, cache
	in     []*rel
	schema *arrow.Schema
	name   string
	site   string

	source  Ref         // of a scan
	node    *Node       // of a scan of a dataset
	where   []expr.Expr // of a where: all must be true
	cols    []Column    // of a select
	keys    []Column    // of a group
	aggs    []Agg
	join    joinSpec
	window  windowSpec
	explode explodeSpec
	expand  [][]Column   // of an expand: the rows that are made of each
	sort    []sortColumn // of a sort or window
	limit   int          // of a limit; with sort: of the first in that order
	parts   int          // of a sort, group, join or window
}

type joinSpec struct {
	how       string
	on        []onPair
	broadcast bool
}

// A Column is an expression and the name of the column that it makes.
type Column struct {
	Name string
	Expr expr.Expr
}

// As names an expression.
func As(name string, e expr.Expr) Column { return Column{name, e} }

// Columns are columns of the given names and types, separated by commas: "id int64,
// price decimal(15,2), shipped date?". A question mark is for columns that can be
// null. It is for ReadTable.
func Columns(text string) (*arrow.Schema, error) {
	var fields []arrow.Field
	depth, from := 0, 0
	add := func(part string) error {
		name, word, _ := strings.Cut(strings.TrimSpace(part), " ")
		word, nullable := strings.CutSuffix(strings.TrimSpace(word), "?")
		t, err := expr.ParseType(word)
		if err != nil {
			return fmt.Errorf("column %q: %w", name, err)
		}
		fields = append(fields, arrow.Field{Name: name, Type: t, Nullable: nullable})
		return nil
	}
	for i, c := range text + "," {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			if err := add(text[from:i]); err != nil {
				return nil, err
			}
			from = i + 1
		}
	}
	return arrow.NewSchema(fields, nil), uniqueNames(fields)
}

func uniqueNames(fields []arrow.Field) error {
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.Name] {
			return fmt.Errorf("two columns are called %q: rename one", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}

// ReadTable is the rows of a source. The schema may be left out, with nil, for a
// source whose data say their columns, as Parquet files do: they are looked at
// while the job is built, in every process that works for it.
func ReadTable(j *Job, s SourceSpec[Table], schema *arrow.Schema) Table {
	r := &rel{op: "scan", schema: schema}
	if schema == nil {
		if f, ok := s.(FileSource[Table]); ok {
			f.columns = false
			s = f
		}
		r.name, r.source = s.source(j, nil)
		src, err := NewSource(r.source.Kind, r.source.Args)
		if err == nil {
			r.schema, err = src.Schema(context.Background())
		}
		if err != nil {
			j.report(fmt.Errorf("ReadTable: %w", err))
			r.schema = arrow.NewSchema(nil, nil)
		}
	} else {
		r.name, r.source = s.source(j, &codec[Table]{schema: schema})
	}
	return Table{j, nil}.then(r)
}

// ToTable is a dataset's rows as a table: its columns are those of T.
func ToTable[T any](d Dataset[T]) Table {
	return Table{j: d.j}.then(&rel{op: "scan", name: "ToTable", schema: d.node.Schema, node: d.node})
}

// FromTable is a table's rows as values of T, whose columns are found by name.
func FromTable[T any](t Table) Dataset[T] {
	c := codecFor[T](t.j)
	if c == nil {
		return then(t.j, &Node{Kind: SourceNode, Name: "FromTable"}, c)
	}
	var cols []any
	for _, f := range c.schema.Fields() {
		cols = append(cols, f.Name)
	}
	picked := t.Select(cols...)
	for i, f := range picked.r.schema.Fields() {
		if f.Nullable && !c.schema.Field(i).Nullable {
			t.j.Errorf("FromTable: column %s can be null, its field cannot: make it a pointer, or use Coalesce", f.Name)
		}
	}
	n := lowerTable(picked)
	if err := c.accepts(n.Schema); err != nil {
		t.j.report(fmt.Errorf("FromTable: %w", err))
	}
	return Dataset[T]{t.j, n, c}
}

// WriteTable sends a table's rows to a sink, as Write does.
func WriteTable(t Table, s SinkSpec[Table]) {
	in := lowerTable(t)
	if a, ok := s.(arranger); ok {
		in = a.arrange(t.j, in)
	}
	n := &Node{Kind: SinkNode, Name: "WriteTable", In: []*Node{in}}
	n.Name, n.Ref = s.sink(t.j, nil)
	t.j.add(n)
}

// Schema is the columns of t.
func (t Table) Schema() *arrow.Schema { return t.r.schema }

// Named says what the last step of t is called in plans.
func (t Table) Named(name string) Table {
	r := *t.r
	r.name = name
	return Table{t.j, &r}
}

func (t Table) then(r *rel) Table {
	r.site = callerSite()
	if r.name == "" {
		r.name = r.op
	}
	if err := uniqueNames(r.schema.Fields()); err != nil {
		t.j.report(fmt.Errorf("%s: %w", r.name, err))
	}
	return Table{t.j, r}
}

// planned is the schema of what a registered operator gives; what is wrong with its
// arguments is reported at the author's line.
func (t Table) planned(name, kind string, args any, in ...*arrow.Schema) *arrow.Schema {
	raw, err := encodeExprArgs(args)
	var op Operator
	if err == nil {
		op, err = NewOperator(kind, raw)
	}
	var s *arrow.Schema
	if err == nil {
		s, err = op.Schema(in...)
	}
	if err != nil {
		t.j.report(fmt.Errorf("%s: %w", name, err))
		return arrow.NewSchema(nil, nil)
	}
	return s
}

// Where keeps the rows for which all conditions are true.
func (t Table) Where(conds ...expr.Expr) Table {
	t.planned("Where", "select", selectArgs{Where: expr.All(conds...)}, t.r.schema)
	return t.then(&rel{op: "where", name: whereName, in: []*rel{t.r}, schema: t.r.schema, where: conds})
}

// Select makes rows of the given columns: names, or expressions named by As.
func (t Table) Select(cols ...any) Table { return t.selected("Select", t.columnsOf("Select", cols)) }

func (t Table) selected(name string, cols []Column) Table {
	schema := t.planned(name, "select", selectArgs{Columns: wireColumns(cols)}, t.r.schema)
	return t.then(&rel{op: "select", name: name, in: []*rel{t.r}, schema: schema, cols: cols})
}

// columnsOf reads a list of columns.
func (t Table) columnsOf(call string, list []any) []Column {
	var cols []Column
	for _, c := range list {
		switch c := c.(type) {
		case string:
			cols = append(cols, Column{c, expr.Col(c)})
		case Column:
			cols = append(cols, c)
		case expr.Expr:
			name, ok := c.Column()
			if !ok {
				t.j.Errorf("%s: %s has no name: use As", call, c)
				continue
			}
			cols = append(cols, Column{name, c})
		default:
			t.j.Errorf("%s: a %T is no column: use a name, or As", call, c)
		}
	}
	return cols
}

// With adds columns, or replaces those of the same name.
func (t Table) With(cols ...Column) Table {
	var all []Column
	for _, f := range t.r.schema.Fields() {
		all = append(all, Column{f.Name, expr.Col(f.Name)})
	}
	for _, c := range cols {
		at := slices.IndexFunc(all, func(x Column) bool { return x.Name == c.Name })
		if at >= 0 {
			all[at] = c
		} else {
			all = append(all, c)
		}
	}
	return t.selected("With", all)
}

// Drop leaves columns out.
func (t Table) Drop(names ...string) Table {
	var cols []Column
	for _, f := range t.r.schema.Fields() {
		if !slices.Contains(names, f.Name) {
			cols = append(cols, Column{f.Name, expr.Col(f.Name)})
		}
	}
	for _, n := range names {
		if !t.r.schema.HasField(n) {
			t.j.Errorf("Drop: there is no column %q", n)
		}
	}
	return t.selected("Drop", cols)
}

// Prefix puts a word before the names of all columns: so that a table can be joined
// with itself.
func (t Table) Prefix(word string) Table {
	var cols []Column
	for _, f := range t.r.schema.Fields() {
		cols = append(cols, Column{word + f.Name, expr.Col(f.Name)})
	}
	return t.selected("Prefix", cols)
}

// Union is the rows of t and others, which have the same columns in the same places.
func (t Table) Union(others ...Table) Table {
	r := &rel{op: "union", name: "Union", in: []*rel{t.r}}
	fields := slices.Clone(t.r.schema.Fields())
	for _, o := range others {
		if o.j != t.j {
			t.j.Errorf("Union: the tables belong to different jobs")
			continue
		}
		for i := range fields {
			if o.r.schema.NumFields() != len(fields) || o.r.schema.Field(i).Name != fields[i].Name || !arrow.TypeEqual(o.r.schema.Field(i).Type, fields[i].Type) {
				t.j.Errorf("Union: the columns differ: %s and %s", schemaWords(t.r.schema), schemaWords(o.r.schema))
				break
			}
			if o.r.schema.Field(i).Nullable != fields[i].Nullable {
				t.j.Errorf("Union: column %s can be null in one table and not in another", fields[i].Name)
			}
		}
		r.in = append(r.in, o.r)
	}
	r.schema = arrow.NewSchema(fields, nil)
	return t.then(r)
}

func schemaWords(s *arrow.Schema) string {
	var parts []string
	for _, f := range s.Fields() {
		parts = append(parts, f.Name+" "+f.Type.String())
	}
	return strings.Join(parts, ", ")
}

// Distinct is each row once.
func (t Table) Distinct(opts ...CombineOption) Table {
	var keys []any
	for _, f := range t.r.schema.Fields() {
		keys = append(keys, f.Name)
	}
	return t.GroupBy(keys...).agg("Distinct", nil, opts)
}

// Cached computes t once and keeps its rows on the workers for all that read it.
func (t Table) Cached() Table {
	return t.then(&rel{op: "cache", name: "Cached", in: []*rel{t.r}, schema: t.r.schema})
}

// OrderBy puts all rows in order over all tasks: Asc and Desc name columns, the
// first one counts most.
func (t Table) OrderBy(opts ...SortByOption) Table { return t.ordered("OrderBy", 0, opts) }

// TopN is the first n rows in an order, in one task.
func (t Table) TopN(n int, opts ...SortByOption) Table {
	if n < 1 {
		t.j.Errorf("TopN: %d rows make no sense", n)
		n = 1
	}
	return t.ordered("TopN", n, opts)
}

func (t Table) ordered(name string, limit int, opts []SortByOption) Table {
	var o sortByOptions
	for _, f := range opts {
		f.forSortBy(&o)
	}
	if len(o.columns) == 0 {
		t.j.Errorf("%s: no column is named: use Asc or Desc", name)
	}
	for _, c := range o.columns {
		if !t.r.schema.HasField(c.name) {
			t.j.Errorf("%s: there is no column %q (the columns are %s)", name, c.name, schemaWords(t.r.schema))
			o.columns = nil
			break
		}
	}
	return t.then(&rel{op: "sort", name: name, in: []*rel{t.r}, schema: t.r.schema, sort: o.columns, limit: limit, parts: o.partitions})
}

// Limit is any n rows, in one task.
func (t Table) Limit(n int) Table {
	if n < 0 {
		t.j.Errorf("Limit: %d rows make no sense", n)
	}
	return t.then(&rel{op: "limit", name: "Limit", in: []*rel{t.r}, schema: t.r.schema, limit: n})
}
