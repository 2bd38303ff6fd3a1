package columnar

import (
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// works are the jobs, in the order of the files in testdata/sql that say the same. Each
// ends in one row, so that it is not the writing of results that is measured.
var works = []struct {
	name string
	plan func(facts, parts df.Table) df.Table
}{
	{"group by half as many keys as rows", func(facts, _ df.Table) df.Table {
		return facts.GroupBy("key").Agg(df.CountRows("n"), df.SumOf("s", col("value"))).
			GroupBy().Agg(df.CountRows("groups"), df.SumOf("squares", col("n").Mul(col("n"))), df.SumOf("sums", col("s").Mul(col("key").Mod(1009))))
	}},
	{"join with a table of a twentieth of the rows", func(facts, parts df.Table) df.Table {
		return facts.Join(parts.Prefix("p_"), df.Equal("part", "p_part"), df.BroadcastRight()).
			GroupBy().Agg(df.CountRows("pairs"), df.SumOf("weighted", col("value").Mul(col("p_weight"))))
	}},
}

var col = expr.Col

// Query is the job: it reads the flags --data, --query and --out.
func Query(j *df.Job) {
	data := j.String("data", "", "folder of the tables, each a folder of Parquet files")
	n := j.Int("query", 0, "which one")
	out := j.String("out", "", "folder of the result")
	if data == "" || out == "" || n < 1 || n > len(works) {
		j.Errorf("usage: columnar --data DIR --query 1..%d --out DIR", len(works))
		return
	}
	table := func(name string) df.Table {
		return df.ReadTable(j, df.FromParquet[df.Table](data+"/"+name+"/*.parquet"), nil).Named(name)
	}
	df.WriteTable(works[n-1].plan(table("facts"), table("parts")), df.CSV[df.Table](out).Option("header", true))
}
