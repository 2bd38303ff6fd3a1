package expr

// What part of the rows is expected to fulfil a condition of which nothing is known but
// its form. They are the customary ones; who knows better should not ask here.
const (
	shareEqual = 0.1
	shareRange = 1.0 / 3
	shareLike  = 0.1
	shareNull  = 0.05
	shareOther = 0.5
)

// Selectivity guesses for what part of the rows, more than 0 and at most 1, a condition
// is true, by its form alone: equality for one row in ten, a comparison for one in three.
// Parts that are joined by and, or, and not are taken to be independent.
func Selectivity(cond Expr) float64 {
	return min(max(selectivity(cond), 1e-6), 1)
}

func selectivity(e Expr) float64 {
	if e.n == nil {
		return 1
	}
	args := e.n.args
	switch op := e.n.op; {
	case op == opLit:
		if l := e.n.lit; l.null || l.i == 0 {
			return 0
		}
		return 1
	case op == "and" && len(args) == 2:
		return selectivity(args[0]) * selectivity(args[1])
	case op == "or" && len(args) == 2:
		a, b := selectivity(args[0]), selectivity(args[1])
		return a + b - a*b
	case op == "not" && len(args) == 1:
		return 1 - selectivity(args[0])
	case op == "eq":
		return shareEqual
	case op == "ne":
		return 1 - shareEqual
	case op == "in":
		return min(shareEqual*float64(len(args)-1), shareOther)
	case op == "lt" || op == "le" || op == "gt" || op == "ge":
		return shareRange
	case op == "like" || op == "matches":
		return shareLike
	case op == "isnull":
		return shareNull
	}
	return shareOther
}
