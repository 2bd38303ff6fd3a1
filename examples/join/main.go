// Join joins two sets of text files by their keys:
//
//	join [--type inner|left|right|full|semi|anti] [--broadcast] LEFT RIGHT OUT
//
// A line is its key, a tab, and the rest, which may have further tabs in it; a line
// without a tab is a key and an empty rest. A line of the output is the key, the
// rest of the left line and the rest of the right one, tabs between them; a side
// without partner is empty. Semi and anti give lines of the left side, with and
// without a partner. With --broadcast the right side, which must fit in memory, goes
// whole to every task, and the left side stays where it is.
package main

import (
	"strings"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(join) }

// A row is a line of the output.
type row struct {
	Key   string
	Left  string
	Right string
}

func join(j *df.Job) {
	how := j.String("type", "inner", "inner, left, right, full, semi or anti")
	broadcast := j.Bool("broadcast", false, "send the right side, whole, to every task")
	left, right, out := keyed(j, j.Arg(0)), keyed(j, j.Arg(1)), j.Arg(2)
	var opts []df.JoinOption
	if broadcast {
		opts = append(opts, df.BroadcastRight())
	}
	switch how {
	case "inner":
		write(df.Join(left, right, opts...), out, itself, itself)
	case "left":
		write(df.LeftJoin(left, right, opts...), out, itself, orEmpty)
	case "right":
		write(df.RightJoin(left, right, opts...), out, orEmpty, itself)
	case "full":
		write(df.FullJoin(left, right, opts...), out, orEmpty, orEmpty)
	case "semi":
		df.Write(df.SemiJoin(left, right, opts...), df.TSV[df.Pair[string, string]](out))
	case "anti":
		df.Write(df.AntiJoin(left, right, opts...), df.TSV[df.Pair[string, string]](out))
	default:
		j.Errorf("--type %q: want inner, left, right, full, semi or anti", how)
	}
}

// keyed is the lines of a text, by what stands before their first tab.
func keyed(j *df.Job, path string) df.Dataset[df.Pair[string, string]] {
	return df.Map(df.Read(j, df.Lines(path)), func(line string) df.Pair[string, string] {
		key, rest, _ := strings.Cut(line, "\t")
		return df.KV(key, rest)
	})
}

func write[L, R any](rows df.Dataset[df.Pair[string, df.Joined[L, R]]], out string, left func(L) string, right func(R) string) {
	df.Write(df.Map(rows, func(p df.Pair[string, df.Joined[L, R]]) row {
		return row{p.Key, left(p.Value.Left), right(p.Value.Right)}
	}), df.TSV[row](out))
}

func itself(s string) string { return s }

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
