package divisi_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"

	df "github.com/divisi-data/divisi/dataflow"
)

// A plainStep is a step of a random pipeline: how the engine is told of it, and the
// rows that come out.
type plainStep struct {
	says  string
	in    []int
	build func(in []df.Table) df.Table
	out   *plainTable
	order []orderColumn // of OrderBy and TopN: what the rows are in the order of
	loose int           // of Limit: so many rows come out, any of those of out; else -1
}

type orderColumn struct {
	name       string
	descending bool
}

func (o orderColumn) option() df.SortByOption {
	if o.descending {
		return df.Desc(o.name)
	}
	return df.Asc(o.name)
}

func options(order []orderColumn) (opts []df.SortByOption) {
	for _, o := range order {
		opts = append(opts, o.option())
	}
	return opts
}

// errSkip says that a step cannot be made here; another is tried.
var errSkip = errors.New("no such step")

// mostRows is the most rows that come out of a step.
const mostRows = 3000

// orders compares two rows; nulls come first.
func (t *plainTable) orders(a, b []any, order []orderColumn) int {
	for _, o := range order {
		i := t.at(o.name)
		c := 0
		switch x, y := a[i], b[i]; {
		case x == nil && y == nil:
		case x == nil:
			c = -1
		case y == nil:
			c = 1
		default:
			c = compare(x, y)
		}
		if o.descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func (t *plainTable) sorted(order []orderColumn) [][]any {
	rows := slices.Clone(t.rows)
	slices.SortStableFunc(rows, func(a, b []any) int { return t.orders(a, b, order) })
	return rows
}

// same spells a value so that those that are one group are alike.
func same(v any) string {
	if f, ok := v.(float64); ok && f != 0 {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return word(v)
}

// groupsBy gathers rows by some columns, in the order in which the groups occur.
func (t *plainTable) groupsBy(names []string) (groups [][][]any) {
	at := map[string]int{}
	for _, row := range t.rows {
		k := ""
		for _, n := range names {
			k += same(row[t.at(n)]) + "|"
		}
		if _, ok := at[k]; !ok {
			at[k] = len(groups)
			groups = append(groups, nil)
		}
		groups[at[k]] = append(groups[at[k]], row)
	}
	return groups
}

// A stepMaker makes random steps.
type stepMaker struct{ rng *rand.Rand }

func (m stepMaker) flat(t *plainTable) bool {
	return !slices.ContainsFunc(t.fields, func(f arrow.Field) bool { return f.Type.ID() == arrow.LIST })
}

// columns are up to n columns in random order, none of them of lists.
func (m stepMaker) columns(t *plainTable, n int) (names []string) {
	for _, i := range m.rng.Perm(len(t.fields)) {
		if len(names) < n && t.fields[i].Type.ID() != arrow.LIST {
			names = append(names, t.fields[i].Name)
		}
	}
	return names
}

func (m stepMaker) order(t *plainTable, n int) (order []orderColumn) {
	for _, name := range m.columns(t, n) {
		order = append(order, orderColumn{name, m.rng.IntN(2) == 0})
	}
	return order
}

// evaluated is a column of an expression.
func evaluated(t *plainTable, e plainExpr) ([]any, error) {
	out := make([]any, len(t.rows))
	for i, row := range t.rows {
		v, err := e.eval(row)
		if err != nil {
			return nil, errSkip
		}
		out[i] = v
	}
	return out, nil
}

// step is a random step after the step at, of those before; the fields of what comes
// out have no types yet.
func (m stepMaker) step(steps []*plainStep, at int) (*plainStep, error) {
	t := steps[at].out
	s := &plainStep{in: []int{at}, loose: -1}
	var err error
	switch m.rng.IntN(16) {
	case 0, 1:
		err = m.where(s, t)
	case 2, 3:
		err = m.selects(s, t)
	case 4, 5:
		err = m.group(s, t)
	case 6, 7, 8:
		err = m.join(s, t, steps)
	case 9, 10:
		err = m.window(s, t)
	case 11:
		err = m.sort(s, t)
	case 12:
		s.says = "Distinct()"
		s.build = func(in []df.Table) df.Table { return in[0].Distinct() }
		var names []string
		for _, f := range t.fields {
			names = append(names, f.Name)
		}
		s.out = t.like(nil)
		for _, g := range t.groupsBy(names) {
			s.out.rows = append(s.out.rows, g[0])
		}
		if !m.flat(t) {
			err = errSkip
		}
	case 13:
		err = m.union(s, t, steps)
	case 14:
		err = m.explode(s, t)
	default:
		err = m.limit(s, t)
	}
	if err == nil && len(s.out.rows) > mostRows {
		err = errSkip
	}
	return s, err
}

// like is a table of the same columns.
func (t *plainTable) like(rows [][]any) *plainTable {
	return &plainTable{fields: t.fields, rows: rows, exact: t.exact}
}

func (m stepMaker) where(s *plainStep, t *plainTable) error {
	c := exprMaker{m.rng, t}.make("bool", 1+m.rng.IntN(3))
	vs, err := evaluated(t, c)
	if err != nil {
		return err
	}
	s.says = fmt.Sprintf("Where(%s)", c.e)
	s.build = func(in []df.Table) df.Table { return in[0].Where(c.e) }
	s.out = t.like(nil)
	for i, v := range vs {
		if v == true {
			s.out.rows = append(s.out.rows, t.rows[i])
		}
	}
	return nil
}

var kinds = []string{"bool", "int", "dec", "float", "text", "date"}

// selects is Select or With, of columns and expressions.
func (m stepMaker) selects(s *plainStep, t *plainTable) error {
	s.out = &plainTable{exact: map[string]bool{}}
	var cols []any
	var made [][]any
	for _, i := range m.rng.Perm(len(t.fields))[:1+m.rng.IntN(len(t.fields))] {
		f := t.fields[i]
		cols = append(cols, f.Name)
		vs, _ := evaluated(t, plainExpr{eval: func(row []any) (any, error) { return row[i], nil }})
		made = append(made, vs)
		s.out.fields = append(s.out.fields, f)
		s.out.exact[f.Name] = t.exact[f.Name]
	}
	for range 1 + m.rng.IntN(3) {
		e := exprMaker{m.rng, t}.make(kinds[m.rng.IntN(len(kinds))], 1+m.rng.IntN(3))
		vs, err := evaluated(t, e)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("e%d", m.rng.IntN(1000))
		cols = append(cols, df.As(name, e.e))
		made = append(made, vs)
		s.out.fields = append(s.out.fields, arrow.Field{Name: name})
	}
	for i := range t.rows {
		var row []any
		for _, vs := range made {
			row = append(row, vs[i])
		}
		s.out.rows = append(s.out.rows, row)
	}
	s.says = fmt.Sprintf("Select%v", cols)
	s.build = func(in []df.Table) df.Table { return in[0].Select(cols...) }
	return nil
}

func (m stepMaker) sort(s *plainStep, t *plainTable) error {
	s.order = m.order(t, 1+m.rng.IntN(3))
	if len(s.order) == 0 {
		return errSkip
	}
	if m.rng.IntN(2) == 0 {
		s.says = fmt.Sprintf("OrderBy%v", s.order)
		s.build = func(in []df.Table) df.Table { return in[0].OrderBy(options(s.order)...) }
		s.out = t.like(t.sorted(s.order))
		return nil
	}
	if !m.flat(t) {
		return errSkip
	}
	for _, f := range t.fields { // so that it is known which rows they are
		s.order = append(s.order, orderColumn{f.Name, false})
	}
	n := 1 + m.rng.IntN(40)
	s.says = fmt.Sprintf("TopN(%d, %v)", n, s.order)
	s.build = func(in []df.Table) df.Table { return in[0].TopN(n, options(s.order)...) }
	s.out = t.like(t.sorted(s.order))
	s.out.rows = s.out.rows[:min(n, len(s.out.rows))]
	return nil
}

func (m stepMaker) limit(s *plainStep, t *plainTable) error {
	n := []int{0, len(t.rows), len(t.rows) + 5, len(t.rows) / 2}[m.rng.IntN(4)]
	s.says = fmt.Sprintf("Limit(%d)", n)
	s.build = func(in []df.Table) df.Table { return in[0].Limit(n) }
	s.out = t.like(t.rows)
	if n < len(t.rows) {
		s.loose = n
	}
	return nil
}

func (m stepMaker) union(s *plainStep, t *plainTable, steps []*plainStep) error {
	for _, k := range m.rng.Perm(len(steps)) {
		o := steps[k].out
		if steps[k].loose >= 0 || !o.schema().Equal(t.schema()) {
			continue
		}
		s.in = append(s.in, k)
		s.says = fmt.Sprintf("Union(step %d)", k)
		s.build = func(in []df.Table) df.Table { return in[0].Union(in[1]) }
		s.out = t.like(append(slices.Clone(t.rows), o.rows...))
		s.out.exact = map[string]bool{}
		for name := range t.exact {
			s.out.exact[name] = t.exact[name] && o.exact[name]
		}
		return nil
	}
	return errSkip
}

func (m stepMaker) explode(s *plainStep, t *plainTable) error {
	i := slices.IndexFunc(t.fields, func(f arrow.Field) bool { return f.Type.ID() == arrow.LIST })
	if i < 0 {
		return errSkip
	}
	outer := m.rng.IntN(2) == 0
	name := t.fields[i].Name
	s.says = fmt.Sprintf("Explode(%s, outer %v)", name, outer)
	s.build = func(in []df.Table) df.Table {
		if outer {
			return in[0].ExplodeOuter(name)
		}
		return in[0].Explode(name)
	}
	s.out = t.like(nil)
	for _, row := range t.rows {
		list, _ := row[i].([]any)
		if len(list) == 0 && outer {
			list = []any{nil}
		}
		for _, v := range list {
			made := slices.Clone(row)
			made[i] = v
			s.out.rows = append(s.out.rows, made)
		}
	}
	return nil
}

// join is one of the joins with an earlier step, on one or two columns.
func (m stepMaker) join(s *plainStep, t *plainTable, steps []*plainStep) error {
	k := m.rng.IntN(len(steps))
	right := steps[k].out
	if steps[k].loose >= 0 {
		return errSkip
	}
	word := fmt.Sprintf("j%d_", m.rng.IntN(1000))
	var on df.On
	var pairs [][2]int
	for _, a := range m.rng.Perm(len(t.fields)) {
		for _, b := range m.rng.Perm(len(right.fields)) {
			x, y := t.fields[a], right.fields[b]
			if len(pairs) < 1+m.rng.IntN(2) && x.Type.ID() != arrow.LIST && arrow.TypeEqual(x.Type, y.Type) {
				pairs = append(pairs, [2]int{a, b})
				if on == nil {
					on = df.Equal(x.Name, word+y.Name)
				} else {
					on = on.And(x.Name, word+y.Name)
				}
			}
		}
	}
	if len(pairs) == 0 {
		return errSkip
	}
	match := func(l, r []any) bool {
		for _, p := range pairs {
			if x, y := l[p[0]], r[p[1]]; x == nil || y == nil || compare(x, y) != 0 {
				return false
			}
		}
		return true
	}
	var opts []df.JoinOption
	how := []string{"Join", "LeftJoin", "FullJoin", "SemiJoin", "AntiJoin", "NotIn"}[m.rng.IntN(6)]
	if m.rng.IntN(3) == 0 && how != "FullJoin" {
		opts = append(opts, df.BroadcastRight())
	}
	if how == "NotIn" {
		pairs, on = pairs[:1], on[:1]
	}
	s.in = append(s.in, k)
	s.says = fmt.Sprintf("%s(step %d as %s, %v, broadcast %v)", how, k, word, on, len(opts) > 0)
	s.build = func(in []df.Table) df.Table {
		l, r := in[0], in[1].Prefix(word)
		switch how {
		case "Join":
			return l.Join(r, on, opts...)
		case "LeftJoin":
			return l.LeftJoin(r, on, opts...)
		case "FullJoin":
			return l.FullJoin(r, on, opts...)
		case "SemiJoin":
			return l.SemiJoin(r, on, opts...)
		case "AntiJoin":
			return l.AntiJoin(r, on, opts...)
		}
		return l.NotIn(r, on, opts...)
	}
	s.out = &plainTable{fields: slices.Clone(t.fields), exact: map[string]bool{}}
	for n, e := range t.exact {
		s.out.exact[n] = e
	}
	both := how == "Join" || how == "LeftJoin" || how == "FullJoin"
	if both {
		for _, f := range right.fields {
			s.out.exact[word+f.Name] = right.exact[f.Name]
			f.Name = word + f.Name
			s.out.fields = append(s.out.fields, f)
		}
	}
	hasNull := slices.ContainsFunc(right.rows, func(r []any) bool { return r[pairs[0][1]] == nil })
	found := make([]bool, len(right.rows))
	for _, l := range t.rows {
		n := 0
		for i, r := range right.rows {
			if match(l, r) {
				n++
				found[i] = true
				if both {
					s.out.rows = append(s.out.rows, slices.Concat(l, r))
				}
			}
		}
		if len(s.out.rows) > mostRows {
			return errSkip
		}
		switch {
		case (how == "LeftJoin" || how == "FullJoin") && n == 0:
			s.out.rows = append(s.out.rows, slices.Concat(l, make([]any, len(right.fields))))
		case how == "SemiJoin" && n > 0, how == "AntiJoin" && n == 0,
			how == "NotIn" && n == 0 && (len(right.rows) == 0 || l[pairs[0][0]] != nil && !hasNull):
			s.out.rows = append(s.out.rows, l)
		}
	}
	for i, r := range right.rows {
		if how == "FullJoin" && !found[i] {
			s.out.rows = append(s.out.rows, slices.Concat(make([]any, len(t.fields)), r))
		}
	}
	return nil
}
