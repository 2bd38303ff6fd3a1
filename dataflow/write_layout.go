package dataflow

import "slices"

// PartitionBy puts the rows into folders called column=value, as Hive has them, a
// folder for each value (and a folder in it for each value of the next column), and
// leaves those columns out of the files; Partitioned reads them back. Each task puts
// its rows in the order of the columns first, so it writes one file at a time, however
// many folders there are, and one for each folder it has rows of.
//
// Null, and an empty text as well, is in the folder __HIVE_DEFAULT_PARTITION__; what
// file systems give a meaning is escaped as %XX.
func (s FileSink[T]) PartitionBy(columns ...string) FileSink[T] {
	s.partitionBy = columns
	return s
}

// TargetSize is about how long the files should become, in bytes: a file that has
// become so long is followed by another one, and there are fewer tasks, where that
// keeps files from being much shorter. For that, rows that would be written where they
// were read are sent to other tasks first, unless they are in an order; with
// PartitionBy, all rows of a folder go to one task. At most one file of a task, or of a
// task and folder, is shorter.
func (s FileSink[T]) TargetSize(bytes int64) FileSink[T] {
	s.target = bytes
	return s
}

// layout checks what was asked for against the columns of the rows.
func (s FileSink[T]) layout(j *Job, in *Node) (columns []int) {
	call := "Write " + s.format
	if s.target < 0 {
		j.Errorf("%s: TargetSize(%d) makes no sense", call, s.target)
	}
	for _, name := range s.partitionBy {
		at := in.Schema.FieldIndices(name)
		switch {
		case len(at) == 0 && in.Schema.NumFields() > 0: // else what is wrong was said
			j.Errorf("%s: PartitionBy: there is no column %q (the columns are %s)", call, name, schemaWords(in.Schema))
		case len(at) > 0:
			columns = append(columns, at[0])
		}
	}
	if n := in.Schema.NumFields(); n > 0 && len(columns) == n {
		j.Errorf("%s: PartitionBy names all columns: nothing is left for the files", call)
	}
	return columns
}

// arrange brings rows to the tasks and into the order in which they are to be written.
func (s FileSink[T]) arrange(j *Job, in *Node) *Node {
	if len(s.partitionBy) == 0 && s.target == 0 {
		return in
	}
	columns := s.layout(j, in)
	order := slices.Clone(in.SortedBy)
	add := func(n *Node) {
		n.In, n.Schema = []*Node{in}, in.Schema
		in = j.add(n)
	}
	switch {
	case s.target <= 0:
	case len(columns) > 0 && !slices.Equal(in.PartitionedBy, columns):
		add(&Node{Kind: ExchangeNode, Name: "Write (by folder)", PartitionedBy: columns, Exchange: Exchange{Kind: Hash, Columns: columns}})
	case len(columns) == 0 && len(order) == 0 && !fed(in):
		add(&Node{Kind: ExchangeNode, Name: "Write (sizes)", Exchange: Exchange{Kind: Spread}})
	}
	if len(columns) == 0 {
		return in
	}
	var keys []SortKey // rows of a folder stay in the order they had
	for _, c := range columns {
		if at := slices.IndexFunc(order, func(k SortKey) bool { return k.Column == c }); at >= 0 {
			order = slices.Delete(order, at, at+1)
		}
		keys = append(keys, SortKey{Column: c})
	}
	keys = append(keys, order...)
	if !slices.Equal(in.SortedBy, keys) {
		add(&Node{Kind: OperatorNode, Name: "Write (folders)", Ref: Ref{Kind: "sort", Args: encodeArgs(sortArgs{keys})},
			PartitionedBy: slices.Clone(in.PartitionedBy), SortedBy: keys})
	}
	return in
}

// fed reports whether a node is in a stage that an exchange feeds, whose tasks can be
// made fewer.
func fed(n *Node) bool {
	for n.Kind == OperatorNode {
		n = n.In[0]
	}
	return n.Kind == ExchangeNode
}
