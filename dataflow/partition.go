package dataflow

import "math/bits"

// PartitionOf is the partition, of n, of a row whose columns have the given hash (see
// HashColumns). It is the one place where a hash becomes a partition: both sides of a
// join, and all attempts of a task, must agree.
func PartitionOf(hash uint64, n int) int {
	hi, _ := bits.Mul64(hash, uint64(n))
	return int(hi)
}
