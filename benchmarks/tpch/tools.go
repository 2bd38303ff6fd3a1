package tpch

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// tools are the peer and the maker of tables.
type tools struct{ harness.Python }

func newTools(dir string, log io.Writer) tools {
	return tools{harness.Python{Dir: dir, Packages: []string{"duckdb==2.0.1", "tpchgen-cli==4.0.0"}, Log: log}}
}

// tables makes the tables once and keeps them: how many bytes their files have. A file
// is one row group, and the large tables have several.
func (t tools) tables(ctx context.Context, dir string, scale int) (size int64, err error) {
	if _, err := os.Stat(dir); err != nil {
		fmt.Fprintf(t.Log, "making the tables of scale factor %d\n", scale)
		part := dir + ".part"
		if err := os.RemoveAll(part); err != nil {
			return 0, err
		}
		for _, table := range []struct {
			name  string
			files int
		}{{"region", 1}, {"nation", 1}, {"supplier", 1}, {"customer", 1}, {"part", 1}, {"partsupp", 2 * scale}, {"orders", 2 * scale}, {"lineitem", 8 * scale}} {
			if err := harness.Command(ctx, "", t.Program("tpchgen-cli"), "parquet", "-s", strconv.Itoa(scale), "--row-group-bytes=128MB",
				"-T", table.name, "-p", strconv.Itoa(table.files), "-o", part); err != nil {
				return 0, err
			}
		}
		if err := os.Rename(part, dir); err != nil {
			return 0, err
		}
	}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
