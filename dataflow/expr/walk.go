package expr

import "slices"

// Columns are the names of the columns that some expressions read, each once, in
// the order they are met.
func Columns(es ...Expr) []string {
	var names []string
	var walk func(e Expr)
	walk = func(e Expr) {
		if e.n == nil {
			return
		}
		if e.n.op == opCol && !slices.Contains(names, e.n.name) {
			names = append(names, e.n.name)
		}
		for _, a := range e.n.args {
			walk(a)
		}
	}
	for _, e := range es {
		walk(e)
	}
	return names
}

// Column is the name of the column that e is, if it is nothing else.
func (e Expr) Column() (name string, ok bool) {
	if e.n == nil || e.n.op != opCol {
		return "", false
	}
	return e.n.name, true
}

// Conjuncts are the expressions whose And e is.
func Conjuncts(e Expr) []Expr {
	if e.n == nil {
		return nil
	}
	if e.n.op == "and" {
		return append(Conjuncts(e.n.args[0]), Conjuncts(e.n.args[1])...)
	}
	return []Expr{e}
}

// Substitute puts expressions in the place of columns; a column that by does not
// have stays.
func Substitute(e Expr, by map[string]Expr) Expr {
	if e.n == nil {
		return e
	}
	if e.n.op == opCol {
		if other, ok := by[e.n.name]; ok {
			return other
		}
		return e
	}
	var args []Expr
	for i, a := range e.n.args {
		if b := Substitute(a, by); b != a {
			if args == nil {
				args = slices.Clone(e.n.args)
			}
			args[i] = b
		}
	}
	if args == nil {
		return e
	}
	n := *e.n
	n.args = args
	return Expr{&n}
}
