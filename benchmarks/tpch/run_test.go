package tpch

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// A process serves one query after the other, also after one that failed.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	data, err := filepath.Abs("testdata/sf0.01")
	if err != nil {
		t.Fatal(err)
	}
	var answers bytes.Buffer
	asked := fmt.Sprintf("6 %s/a\n23 %s/b\n14 %s/c\n6 %s/a\n", dir, dir, dir, dir)
	if err := harness.Serve(t.Context(), Query, data, strings.NewReader(asked), &answers); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(answers.String()), "\n")
	if len(got) != 4 || got[0] != "ok" || !strings.Contains(got[1], "usage") || got[2] != "ok" || got[3] != "ok" {
		t.Fatalf("answers are %q", got)
	}
	for q, folder := range map[int]string{6: "a", 14: "c"} {
		want, err := result(q, fmt.Sprintf("testdata/answers/q%02d.csv", q))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := result(q, filepath.Join(dir, folder, "part-*"))
		if err != nil {
			t.Fatal(err)
		}
		if problem := compare(rows, want, true, 0); problem != "" {
			t.Errorf("query %d: %s", q, problem)
		}
	}
	if err := harness.Serve(t.Context(), Query, data, strings.NewReader("6\n"), &answers); err == nil {
		t.Error("a line without a folder is served")
	}
}

func TestSum(t *testing.T) {
	query := func(ours, duck, ratio float64, fault string) harness.Row {
		return harness.Row{Contenders: []harness.Contender{
			{Name: "DuckDB", Seconds: []float64{duck, duck}, CPU: []float64{duck, duck}, Checked: true},
			{Name: "ours", Seconds: []float64{ours, ours}, CPU: []float64{ours, ours}, Checked: fault == "", Error: fault, Ratio: ratio},
		}}
	}
	row := sum(harness.Row{}, []harness.Row{query(1, 1, 1, ""), query(8, 2, 4, "")})
	us, duck := row.Contenders[ours], row.Contenders[first]
	if us.Median() != 9 || duck.Median() != 3 || !us.Checked {
		t.Errorf("the sum is %+v", row)
	}
	if m := us.Figures["geometric mean of times DuckDB"]; math.Abs(m-2) > 1e-12 || us.Figures["queries over twice DuckDB"] != 1 || us.Figures["q02, ms"] != 8000 {
		t.Errorf("figures are %v", us.Figures)
	}
	with := func(r harness.Row, seconds float64, fault string) harness.Row {
		r.Contenders = append(r.Contenders, harness.Contender{Name: "Polars", Seconds: []float64{seconds}, Error: fault})
		return r
	}
	row = sum(harness.Row{}, []harness.Row{with(query(4, 4, 1, ""), 1, ""), with(query(4, 1, 4, ""), 8, ""), with(query(4, 4, 1, ""), 1, "wrong")})
	if f := row.Contenders[ours].Figures; math.Abs(f["geometric mean of times the faster of DuckDB and Polars"]-math.Cbrt(16)) > 1e-12 || f["queries over twice the faster"] != 2 {
		t.Errorf("figures with Polars are %v", f)
	}
	row = sum(harness.Row{}, []harness.Row{query(1, 1, 1, "wrong"), query(8, 2, 4, "")})
	if c := row.Contenders[ours]; c.Checked || c.Error != "wrong" {
		t.Errorf("a wrong result is no fault of the row: %+v", c)
	}
}
