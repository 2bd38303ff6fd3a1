// Terasort makes, sorts and checks the records of the TeraSort benchmark, in the
// layout of Hadoop's: 100 bytes, of which the first 10 are the key.
//
//	terasort gen [--parts N] ROWS OUT
//	terasort sort IN OUT
//	terasort validate DIR
//	terasort checksum DIR
//
// Gen writes ROWS records with random keys, the same ones always for the same number
// of a row. Sort puts them in order, over the parts of OUT in order of their names.
// Validate checks that order, and prints the number of records and their checksum;
// checksum prints the same of records in any order. The checksum is that of Hadoop's
// TeraValidate, the sum of the CRC-32 of all records, in hexadecimal, so what it says
// of input and output shows that no record was lost, doubled or changed. Validate
// and checksum exit with 7 when records are out of order or the last one of a file
// is cut short.
package main

import (
	"os"
	"strconv"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

const (
	keyBytes    = 10
	recordBytes = 100
)

func main() {
	if flags, command, dir, ok := isCheck(os.Args[1:]); ok {
		os.Exit(check(flags, command, dir))
	}
	divisi.Main(terasort)
}

func terasort(j *df.Job) {
	parts := j.Int("parts", 0, "of gen: how many files (default: chosen by ROWS)")
	args := j.Args()
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch {
	case command == "gen" && len(args) == 2:
		rows, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || rows < 0 {
			j.Errorf("gen: %q is no number of rows", args[0])
			return
		}
		df.Write(generated(j, rows, parts), df.Records(keyBytes, recordBytes, args[1]))
	case command == "sort" && len(args) == 2:
		records := df.Read(j, df.FromRecords(keyBytes, recordBytes, args[0]))
		df.Write(df.SortBy(records, df.Asc("key")), df.Records(keyBytes, recordBytes, args[1]))
	case command == "summarize" && len(args) == 1:
		df.Write(summarized(j, args[0]), df.CustomSink[summary](nowhereKind, nil))
	default:
		j.Errorf("usage: terasort gen [--parts N] ROWS OUT | sort IN OUT | validate DIR | checksum DIR")
	}
}
