// Package shuffle moves rows between stages: it says which partition a row belongs
// to, writes a task's rows clustered by partition into a data file with an index
// beside it, and gives the tasks of the next stage the partitions they ask for as
// streams.
//
// Files are written once, under a name of the attempt's own, and never changed, so
// a reader that fails may read again and get the same. What a reader gets is
// checked to the last byte: each frame has its checksum (package block), each range
// of partitions says how many bytes and rows it has, and the index has a checksum
// of its own. What is damaged or gone ends in a LostError that names the tasks to
// run again.
//
// The order of the rows is part of the promise: within a partition they come in the
// order in which the producer wrote them, and a reader sees its producers in the
// order in which it names them. So a task that runs again sees the same rows in
// the same order.
//
// The byte layout is on the page docs/format/shuffle.md.
package shuffle
