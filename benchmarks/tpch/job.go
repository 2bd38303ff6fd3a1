// Package tpch has the queries of the TPC-H benchmark as jobs over tables in Parquet
// files, and runs them beside DuckDB.
package tpch

import (
	df "github.com/divisi-data/divisi/dataflow"
)

// Query is the job: it reads the flags --data, --query and --out.
func Query(j *df.Job) {
	data := j.String("data", "", "folder of the tables, each a folder of Parquet files")
	n := j.Int("query", 0, "the query, 1 to 22")
	out := j.String("out", "", "folder of the result")
	if data == "" || out == "" || n < 1 || n > len(queries) {
		j.Errorf("usage: tpch --data DIR --query 1..%d --out DIR", len(queries))
		return
	}
	db := &database{j: j, folder: data}
	df.WriteTable(queries[n-1](db), df.CSV[df.Table](out).Option("header", true))
}

// A database is the tables of one scale factor.
type database struct {
	j      *df.Job
	folder string
}

func (d *database) table(name string) df.Table {
	return df.ReadTable(d.j, df.FromParquet[df.Table](d.folder+"/"+name+"/*.parquet"), nil).Named(name)
}

func (d *database) lineitem() df.Table { return d.table("lineitem") }
func (d *database) orders() df.Table   { return d.table("orders") }
func (d *database) customer() df.Table { return d.table("customer") }
func (d *database) part() df.Table     { return d.table("part") }
func (d *database) partsupp() df.Table { return d.table("partsupp") }
func (d *database) supplier() df.Table { return d.table("supplier") }
func (d *database) nation() df.Table   { return d.table("nation") }
func (d *database) region() df.Table   { return d.table("region") }
