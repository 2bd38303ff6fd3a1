package expr

import (
	"strings"
)

var infix = map[string]string{"add": "+", "sub": "-", "mul": "*", "div": "/", "idiv": "//", "mod": "%",
	"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "and", "or": "or", "like": "like", "matches": "matches"}

// String is the expression for people: "(price * (1 - discount))".
func (e Expr) String() string {
	if e.n == nil {
		return "none"
	}
	n := e.n
	switch {
	case n.err != nil:
		return "broken(" + n.err.Error() + ")"
	case n.op == opCol:
		return n.name
	case n.op == opLit:
		return n.lit.String()
	case n.op == "cast":
		return "cast(" + n.args[0].String() + " as " + TypeName(n.typ) + ")"
	case n.op == "case":
		var b strings.Builder
		b.WriteString("case")
		for i := 0; i+1 < len(n.args); i += 2 {
			b.WriteString(" when " + n.args[i].String() + " then " + n.args[i+1].String())
		}
		return b.String() + " else " + n.args[len(n.args)-1].String() + " end"
	case n.op == "in" && len(n.args) > 0:
		return "(" + n.args[0].String() + " in (" + list(n.args[1:]) + "))"
	case n.op == "isnull" && len(n.args) == 1:
		return "(" + n.args[0].String() + " is null)"
	case n.op == "call":
		return n.name + "(" + list(n.args) + ")"
	}
	if word, ok := infix[n.op]; ok && len(n.args) == 2 {
		return "(" + n.args[0].String() + " " + word + " " + n.args[1].String() + ")"
	}
	return n.op + "(" + list(n.args) + ")"
}

func list(es []Expr) string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = e.String()
	}
	return strings.Join(parts, ", ")
}
