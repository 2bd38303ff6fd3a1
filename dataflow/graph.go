package dataflow

import (
	"github.com/apache/arrow-go/v18/arrow"
)

// A Graph is what a job author's calls have built: nodes in the order they were
// made, every input before its consumer. Building it again from the same program
// and arguments gives the same graph, in every process. Package plan cuts it into
// stages.
type Graph struct {
	Name  string
	Nodes []*Node
}

// NodeKind says what a node does.
type NodeKind string

const (
	SourceNode   NodeKind = "source"   // reads Ref, a registered source
	OperatorNode NodeKind = "operator" // runs Op
	UnionNode    NodeKind = "union"    // all rows of all inputs, in no order
	ExchangeNode NodeKind = "exchange" // moves rows between tasks: a cut between stages
	CacheNode    NodeKind = "cache"    // keeps its input's rows for several readers: also a cut
	SinkNode     NodeKind = "sink"     // writes to Ref, a registered sink; has no schema
)

// A Node is one step of a graph. The planner reads it and never changes it.
type Node struct {
	ID     int // position in Graph.Nodes
	Kind   NodeKind
	Name   string // what it is called in plans: the author's words, or the call's
	Site   string // the author's file:line
	In     []*Node
	Sides  []*Node       // read whole by every task that runs this node, by Env.Side(ctx, side.ID)
	Schema *arrow.Schema // of the rows that come out

	Ref      Ref      // the registered kind of a source, sink or operator
	Op       Operator // of an OperatorNode
	Exchange Exchange // of an ExchangeNode

	// What the node promises about the rows that come out of each task; the one
	// place where it is said. Nil means nothing is promised.
	PartitionedBy []int     // rows alike in these columns are in one task
	SortedBy      []SortKey // rows come in this order within a task
	// Ordered says that tasks in order of their index hold the rows in the order
	// of SortedBy.
	Ordered bool

	// Rowwise says of an operator that what it makes of a row of In[0] does not depend on
	// which other rows of In[0] the task has, or not once its parts are merged behind an
	// exchange: rows may be shared out to several tasks, as long as each sees all of the
	// other inputs.
	Rowwise bool
}

// Ref names a registered kind and its arguments, JSON of the kind's own.
type Ref struct {
	Kind string `json:"kind"`
	Args []byte `json:"args,omitempty"`
}

// ExchangeKind says which task a row goes to.
type ExchangeKind string

const (
	Hash      ExchangeKind = "hash"      // by the hash of Columns: equal keys meet
	Range     ExchangeKind = "range"     // by order of Keys, in ranges found by sampling: partition i is before i+1
	Single    ExchangeKind = "single"    // all to one
	Spread    ExchangeKind = "spread"    // evenly, by row number: deterministic, never random
	Direct    ExchangeKind = "direct"    // by the int32 in Columns[0], modulo the number of partitions
	Broadcast ExchangeKind = "broadcast" // every row to every task
	Forward   ExchangeKind = "forward"   // task i to task i: a cache between stages
)

// Exchange says how rows cross from one stage to the next.
type Exchange struct {
	Kind       ExchangeKind `json:"kind"`
	Columns    []int        `json:"columns,omitempty"`    // Hash, Direct
	Keys       []SortKey    `json:"keys,omitempty"`       // Range
	Partitions int          `json:"partitions,omitempty"` // 0: the job's choice, or the planner's
}

// SortKey is one column of an order. Nulls come first, in descending order last.
// A struct column is ordered by its fields in turn.
type SortKey struct {
	Column     int  `json:"column"`
	Descending bool `json:"descending,omitempty"`
}

// A Fuser is an operator that can absorb the one before it, so that records pass
// between them as Go values and not through a batch.
type Fuser interface {
	Operator
	// FuseAfter returns one operator that does what prev and then the receiver do.
	FuseAfter(prev Operator) (Operator, bool)
}
