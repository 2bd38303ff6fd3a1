// Command scan writes and reads a table in the benchmark of reading from S3:
//
//	scan gen FORMAT ROWS OUT   makes ROWS random rows
//	scan sum FORMAT IN OUT     reads every column of every row
//
// FORMAT is parquet or csv. The sum is one line of CSV: the number of rows, the sums of
// the numbers and the least texts.
package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

func main() { divisi.Main(scan) }

const tasks = 16

type row struct {
	ID     int64   `df:"id"`
	N      int64   `df:"n"`
	Amount float64 `df:"amount"`
	Day    string  `df:"day"`
	Name   string  `df:"name"`
}

func scan(j *df.Job) {
	a := j.Args()
	if len(a) != 4 || a[0] != "gen" && a[0] != "sum" || a[1] != "parquet" && a[1] != "csv" {
		j.Errorf("usage: scan gen parquet|csv ROWS OUT, scan sum parquet|csv IN OUT")
		return
	}
	out := a[3]
	if a[0] == "sum" {
		var t df.Table
		if a[1] == "parquet" {
			t = df.ReadTable(j, df.FromParquet[df.Table](a[2]), nil)
		} else {
			t = df.ReadTable(j, df.FromCSV[df.Table](a[2]).Option("header", true), nil)
		}
		df.WriteTable(t.GroupBy().Agg(df.CountRows("rows"), df.SumOf("id", expr.Col("id")), df.SumOf("n", expr.Col("n")), df.SumOf("amount", expr.Col("amount")),
			df.MinOf("day", expr.Col("day")), df.MinOf("name", expr.Col("name"))), df.CSV[df.Table](out))
		return
	}
	rows, err := strconv.Atoi(a[2])
	if err != nil || rows < 1 {
		j.Errorf("%q is no number of rows", a[2])
		return
	}
	parts := make([]int64, tasks)
	for i := range parts {
		parts[i] = int64(i)
	}
	made := df.FlatMap(df.Read(j, df.FromSlice(parts).Splits(tasks)), func(part int64, emit df.Emit[row]) {
		r := rand.New(rand.NewPCG(uint64(part), 7))
		for i := range rows / tasks {
			// Amounts are quarters, whose sums are exact in any order.
			emit(row{ID: part*int64(rows) + int64(i), N: r.Int64N(1 << 40), Amount: float64(r.Int64N(1<<30)) / 4,
				Day: fmt.Sprintf("2024-%02d-%02d", 1+r.IntN(12), 1+r.IntN(28)), Name: fmt.Sprintf("customer %016x", r.Uint64())})
		}
	})
	if a[1] == "parquet" {
		df.Write(made, df.Parquet[row](out))
	} else {
		df.Write(made, df.CSV[row](out).Option("header", true))
	}
}
