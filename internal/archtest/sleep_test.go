package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTestsDoNotSleep: a test that sleeps is slow where it need not be and fails where
// the machine is slower than its author's. Wait for what is to happen, with a deadline
// for the case that it does not, or use testing/synctest.
func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range goFiles(t) {
		if !strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		at, err := sleeps(filepath.Join("..", "..", filepath.FromSlash(f.name)), nil)
		if err != nil {
			t.Error(err)
		}
		for _, line := range at {
			t.Errorf("%s:%d: time.Sleep in a test: wait for what is to happen, or use testing/synctest", f.name, line)
		}
	}
}

// sleeps lists the lines of a file that name time.Sleep, called or handed on, but for
// those inside synctest.Test, where the clock is not the machine's. The source may be
// given instead of the file's content.
func sleeps(name string, source any) ([]int, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	clock := importedAs(f, "time")
	bubble := importedAs(f, "testing/synctest")
	var lines []int
	ast.Inspect(f, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && selects(c.Fun, bubble, "Test") {
			return false
		}
		if e, ok := n.(ast.Expr); ok && selects(e, clock, "Sleep") {
			lines = append(lines, fset.Position(n.Pos()).Line)
		}
		return true
	})
	return lines, nil
}

// importedAs is the name by which a file knows a package, "" if it does not.
func importedAs(f *ast.File, pkg string) string {
	for _, i := range f.Imports {
		if i.Path.Value == `"`+pkg+`"` {
			if i.Name != nil {
				return i.Name.Name
			}
			return pkg[strings.LastIndexByte(pkg, '/')+1:]
		}
	}
	return ""
}

// selects says whether an expression is pkg.name.
func selects(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || pkg == "" || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

func TestSleepsAreSeen(t *testing.T) {
	for _, c := range []struct {
		imports, body string
		want          []int
	}{
		{`"time"`, `time.Sleep(1)`, []int{3}},
		{`t "time"`, `t.Sleep(1)`, []int{3}},
		{`"time"`, `defer func() { f := time.Sleep; f(1) }()`, []int{3}},
		{`"time"`, `<-time.After(1)`, nil},
		{`"our/time/clock"`, `clock.Sleep(1)`, nil},
		{`"time"; "testing/synctest"`, `synctest.Test(nil, func(*testing.T) { time.Sleep(1) })`, nil},
		{`"time"; "testing/synctest"`, `synctest.Wait(); time.Sleep(1)`, []int{3}},
	} {
		got, err := sleeps("x_test.go", fmt.Sprintf("package x\nimport (%s)\nfunc f() { %s }\n", c.imports, c.body))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: found in lines %v, %v, want %v", c.body, got, err, c.want)
		}
	}
}
