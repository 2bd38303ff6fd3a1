// Query runs a job of the columnar benchmark over its tables:
//
//	query --data DIR --query N --out DIR
//
// and, for the benchmark, all that its standard input asks for:
//
//	query serve DIR
package main

import (
	"context"
	"fmt"
	"os"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/benchmarks/columnar"
	"github.com/divisi-data/divisi/benchmarks/harness"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		if err := harness.Serve(context.Background(), columnar.Query, os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "query serve:", err)
			os.Exit(1)
		}
		return
	}
	divisi.Main(columnar.Query)
}
