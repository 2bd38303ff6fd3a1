package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	df "github.com/divisi-data/divisi/dataflow"
)

// chainMark as the first argument makes the binary's job the chain instead of the word
// count: chainMark STAGES KEYS IN... OUT.
const chainMark = "@chain"

const chainPartitions = 4

// chain is a job of many stages: the beginnings of lines are numbered, of which there
// are nearly as many as words, and the numbers move between tasks at each stage, by a
// hash of a new key or in turn.
func chain(j *df.Job) {
	a := j.Args()
	stages, err := strconv.Atoi(a[1])
	keys, kerr := strconv.ParseInt(a[2], 10, 64)
	if err != nil || kerr != nil || stages < 2 || keys < 1 {
		j.Errorf("the chain has 2 stages or more and a number of keys, not %q and %q", a[1], a[2])
		return
	}
	in, out := a[3:len(a)-1], a[len(a)-1]
	d := df.FlatMap(df.Read(j, df.Lines(in...)), func(line string, emit df.Emit[df.Pair[int64, int64]]) {
		chainStart([]byte(line), keys, func(n int64) { emit(df.Pair[int64, int64]{Key: n, Value: 1}) })
	})
	d = df.Combine(d, chainAdd, df.Partitions(chainPartitions))
	for i := range stages - 2 {
		d = df.Map(d, func(p df.Pair[int64, int64]) df.Pair[int64, int64] { return chainStep(p, i, keys) })
		if i%3 == 2 {
			d = df.Repartition(d, chainPartitions)
		} else {
			d = df.Combine(d, chainAdd, df.Partitions(chainPartitions))
		}
	}
	df.Write(d, df.TSV[df.Pair[int64, int64]](out))
}

func chainAdd(a, b int64) int64 { return a + b }

// chainStart numbers the beginnings of a line: up to each of its words.
func chainStart(line []byte, keys int64, number func(int64)) {
	h := uint64(14695981039346656037)
	for w := range bytes.FieldsSeq(line) {
		for _, b := range w {
			h = (h ^ uint64(b)) * 1099511628211
		}
		number(int64(h % uint64(keys)))
	}
}

func chainStep(p df.Pair[int64, int64], i int, keys int64) df.Pair[int64, int64] {
	return df.Pair[int64, int64]{Key: (p.Key*31 + int64(i)*7 + 1) % (keys + 11), Value: p.Value + p.Key%5}
}

// chainPlainly is the chain in one loop: what its output must be, line by line.
func chainPlainly(files []string, stages int, keys int64) ([]string, error) {
	now := map[int64]int64{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(b) {
			chainStart(line, keys, func(n int64) { now[n]++ })
		}
	}
	rows := make([]df.Pair[int64, int64], 0, len(now))
	for k, v := range now {
		rows = append(rows, df.Pair[int64, int64]{Key: k, Value: v})
	}
	for i := range stages - 2 {
		for n, p := range rows {
			rows[n] = chainStep(p, i, keys)
		}
		if i%3 == 2 {
			continue // moved as they are
		}
		sums := map[int64]int64{}
		for _, p := range rows {
			sums[p.Key] += p.Value
		}
		rows = rows[:0]
		for k, v := range sums {
			rows = append(rows, df.Pair[int64, int64]{Key: k, Value: v})
		}
	}
	lines := make([]string, len(rows))
	for n, p := range rows {
		lines[n] = fmt.Sprintf("%d\t%d\n", p.Key, p.Value)
	}
	slices.Sort(lines)
	return lines, nil
}

// countLines is what the word count's output must be, line by line.
func countLines(files []string) ([]string, error) {
	counts, err := countPlainly(files)
	if err != nil {
		return nil, err
	}
	lines := make([]string, 0, len(counts))
	for w, n := range counts {
		lines = append(lines, fmt.Sprintf("%s\t%d\n", w, n))
	}
	slices.Sort(lines)
	return lines, nil
}

// copyMark as the first argument makes the binary's job a copy of a text's lines:
// copyMark LAYOUT IN... OUT.
const copyMark = "@copy"

// layouts of a copy: files of any length, files in folders of a column's values, files
// of a length.
var layouts = []string{"plain", "folders", "sized"}

const (
	copyTasks = 2
	copyKinds = 5       // folders
	copySize  = 3 << 20 // bytes of a file, where it has a length
)

// copied is a line and what it is kept by.
type copied struct {
	Kind int64  `df:"kind"`
	Line string `df:"line"`
}

// kindOf tells in which folder a line comes.
func kindOf(line string) int64 { return int64(len(line) % copyKinds) }

// copying writes lines as they are, each having moved to another task.
func copying(j *df.Job) {
	a := j.Args()
	layout, in, out := a[1], a[2:len(a)-1], a[len(a)-1]
	d := df.Repartition(df.Read(j, df.Lines(in...)), copyTasks)
	switch layout {
	case "plain":
		df.Write(d, df.Text(out))
	case "sized":
		df.Write(d, df.Text(out).TargetSize(copySize))
	case "folders":
		rows := df.Map(d, func(line string) copied { return copied{Kind: kindOf(line), Line: line} })
		df.Write(rows, df.TSV[copied](out).PartitionBy("kind"))
	default:
		j.Errorf("a copy's layout is one of %v, not %q", layouts, layout)
	}
}

// copyPlainly is what a copy's output must be, line by line.
func copyPlainly(files []string, layout string) ([]string, error) {
	var lines []string
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for l := range strings.Lines(string(b)) {
			if layout == "folders" {
				l = fmt.Sprintf("kind=%d/%s", kindOf(strings.TrimSuffix(l, "\n")), l)
			}
			lines = append(lines, l)
		}
	}
	slices.Sort(lines)
	return lines, nil
}

func textFiles(dir string) ([]string, error) {
	return filepath.Glob(filepath.Join(dir, "*.txt"))
}
