// Query runs a query of the TPC-H benchmark over tables in Parquet files:
//
//	query --data DIR --query N --out DIR
//
// reads DIR/<table>/*.parquet and writes the result as CSV with a header, columns
// and order as in the published answers. For the benchmark,
//
//	query serve DIR
//
// runs the queries that its standard input asks for, in this one process.
package main

import (
	"context"
	"fmt"
	"os"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/benchmarks/tpch"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		if err := harness.Serve(context.Background(), tpch.Query, os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "query serve:", err)
			os.Exit(1)
		}
		return
	}
	divisi.Main(tpch.Query)
}
