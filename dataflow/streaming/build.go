package streaming

import (
	"encoding/json"
	"strings"

	df "github.com/divisi-data/divisi/dataflow"
)

// Build makes the graph of a streaming job.
func Build(j *df.Job, s Spec) {
	r, err := s.resolve()
	if err != nil {
		j.Errorf("streaming: %v", err)
		return
	}
	for _, f := range s.Files {
		j.File(f.Name, f.Path)
	}
	out := r.build(df.Read(j, df.Lines(s.Inputs...)))
	df.Write(out, df.Text(s.Output).Compress(r.compression))
}

func (r *resolved) build(lines df.Dataset[string]) df.Dataset[string] {
	mapped := r.mapped(lines)
	switch {
	case r.Reduces == 0:
		return textLines(mapped, r.mapOut.join(r.text))
	case r.aggregates():
		return r.aggregate(mapped)
	case r.order == nil:
		return reduced(r, mapped, func(cut splitter) func(string) row { return cut.row },
			func(v row) string { return v.Key + v.Tail }, []int{1, 2})
	}
	return reduced(r, mapped, func(cut splitter) func(string) orderedRow {
		return func(line string) orderedRow {
			v := cut.row(line)
			return orderedRow{v.Part, string(r.order.appendOrder(nil, v.Key)), v.Key, v.Tail}
		}
	}, func(v orderedRow) string { return v.Key + v.Tail }, []int{2, 3}, df.Asc("order"))
}

// mapped is what the mappers print. They come right behind the source, so that they can
// be told which file they read.
func (r *resolved) mapped(lines df.Dataset[string]) df.Dataset[string] {
	if r.mapper == nil {
		if join := (cutter{r.input, 1}).join(r.mapOut.separator); r.KeyValueInput && join != nil {
			return textLines(lines, join)
		}
		return lines
	}
	a := r.process(r.mapper, "map", 0)
	a.PerFile = true
	if r.KeyValueInput {
		a.Cut = &processCut{r.input, r.mapIn}
	}
	return df.CustomOperator[string, string](lines, "process", a).Named("mapper")
}

func textLines(lines df.Dataset[string], f func(string) string) df.Dataset[string] {
	if f == nil {
		return lines
	}
	return df.Map(lines, f).Named("separator")
}

// A row is a line on its way to a reducer: which part it belongs to, its key, and the
// rest of what the reducer gets, separator included.
type row struct {
	Part int32  `df:"part"`
	Key  string `df:"key"`
	Tail string `df:"tail"`
}

// An orderedRow has in Order bytes that are in the order of the keys.
type orderedRow struct {
	Part  int32  `df:"part"`
	Order string `df:"order"`
	Key   string `df:"key"`
	Tail  string `df:"tail"`
}

// A splitter makes rows of lines.
type splitter struct {
	cutter
	to        string // the separator for who gets the row
	bare      bool   // a line without a separator stays without one
	reduces   int32
	partition func(string) int32
}

func (c splitter) row(line string) row {
	key, value, ok := c.cut(line)
	v := row{Part: c.partition(key) % c.reduces, Key: key}
	switch {
	case ok && c.to == c.separator:
		v.Tail = line[len(key):]
	case ok || !c.bare:
		v.Tail = c.to + value
	}
	return v
}

// reduced is what the reducers print.
func reduced[R any](r *resolved, mapped df.Dataset[string], rowsBy func(splitter) func(string) R, join func(R) string, columns []int, order ...df.SortByOption) df.Dataset[string] {
	order = append(order, df.Asc("key"), df.Asc("tail"))
	// Who gets the rows: a program, or, without a reducer, the output.
	last := splitter{cutter: r.mapOut, to: r.reduceIn, reduces: int32(r.Reduces), partition: r.partition}
	if r.reducer == nil {
		last.to, last.bare = r.text, true
	}
	lines := mapped
	if r.combiner != nil {
		first := last
		first.to, first.bare = r.reduceIn, false
		sorted := df.SortWithin(df.Map(lines, rowsBy(first)).Named("keys"), order[0], order[1:]...)
		lines = df.CustomOperator[R, string](sorted, "process", r.process(r.combiner, "map", columns...)).Named("combiner")
		last.cutter = r.reduceOut
	}
	moved := df.PartitionBy(df.Map(lines, rowsBy(last)).Named("keys"), "part", df.Partitions(r.Reduces)).Named("shuffle")
	sorted := df.SortWithin(moved, order[0], order[1:]...)
	if r.reducer == nil {
		return df.Map(sorted, join).Named("lines")
	}
	out := df.CustomOperator[R, string](sorted, "process", r.process(r.reducer, "reduce", columns...)).Named("reducer")
	return textLines(out, r.reduceOut.join(r.text))
}

// processArgs are the arguments of the operator of kind "process".
type processArgs struct {
	Command []string    `json:"command"`
	Columns []int       `json:"columns"`
	Cut     *processCut `json:"cut,omitempty"`
	Files   []string    `json:"files,omitempty"`
	Env     []string    `json:"env,omitempty"`
	Phase   string      `json:"phase"`
	PerFile bool        `json:"per_file,omitempty"`
	AnyExit bool        `json:"any_exit,omitempty"`
}

type processCut struct {
	At   string `json:"at"`
	With string `json:"with"`
}

func (r *resolved) process(command []string, phase string, columns ...int) processArgs {
	a := processArgs{Command: command, Columns: columns, Env: r.environment(), Phase: phase, AnyExit: r.anyExit}
	for _, f := range r.Files {
		a.Files = append(a.Files, f.Name)
	}
	return a
}

// Encode is the spec as one argument of a job binary.
func (s Spec) Encode() (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// Decode is the opposite of Encode.
func Decode(text string) (s Spec, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	err = d.Decode(&s)
	return s, err
}
