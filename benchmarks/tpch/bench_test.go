package tpch

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	divisi "github.com/divisi-data/divisi"
)

// BenchmarkQueries runs the queries over the tables in the folder TPCH_DATA:
//
//	TPCH_DATA=/data/sf1 go test -run - -bench Queries/q6 -cpuprofile cpu.out ./benchmarks/tpch
func BenchmarkQueries(b *testing.B) {
	data := os.Getenv("TPCH_DATA")
	if data == "" {
		b.Skip("TPCH_DATA names no folder")
	}
	for q := 1; q <= len(queries); q++ {
		b.Run(fmt.Sprintf("q%d", q), func(b *testing.B) {
			for i := range b.N {
				dir := b.TempDir()
				out := filepath.Join(dir, strconv.Itoa(i))
				if _, err := divisi.Run(b.Context(), Query, []string{"--data", data, "--query", strconv.Itoa(q), "--out", out}, divisi.TempDir(dir)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
