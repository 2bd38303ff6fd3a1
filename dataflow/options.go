package dataflow

// Options are typed: what means nothing for a call does not compile there.
type (
	// A CombineOption is for Count, Combine, Aggregate and Distinct.
	CombineOption interface{ forCombine(*combineOptions) }
	// A GroupOption is for GroupByKey and CoGroup.
	GroupOption interface{ forGroup(*groupOptions) }
	// A JoinOption is for the joins.
	JoinOption interface{ forJoin(*joinOptions) }
	// A SortOption is for the sorts.
	SortOption interface{ forSort(*sortOptions) }
)

type combineOptions struct{ partitions int }

type groupOptions struct{ partitions int }

type joinOptions struct {
	partitions int
	broadcast  bool
}

type sortOptions struct {
	partitions int
	descending bool
}

// PartitionsOption is what Partitions returns: it goes with every call that moves
// rows between tasks.
type PartitionsOption int

// Partitions says in how many parts the rows are divided. Without it the engine
// chooses, by the cluster and the data; with it, it keeps to the number.
func Partitions(n int) PartitionsOption { return PartitionsOption(n) }

func (n PartitionsOption) forCombine(o *combineOptions) { o.partitions = int(n) }
func (n PartitionsOption) forGroup(o *groupOptions)     { o.partitions = int(n) }
func (n PartitionsOption) forJoin(o *joinOptions)       { o.partitions = int(n) }
func (n PartitionsOption) forSort(o *sortOptions)       { o.partitions = int(n) }

type broadcastOption struct{}

// BroadcastRight sends all of the right side to every task and leaves the left
// where it is: for a right side that fits in a task's memory.
func BroadcastRight() interface{ JoinOption } { return broadcastOption{} }

func (broadcastOption) forJoin(o *joinOptions) { o.broadcast = true }

type descendingOption struct{}

// Descending puts the largest first.
func Descending() interface{ SortOption } { return descendingOption{} }

func (descendingOption) forSort(o *sortOptions) { o.descending = true }
