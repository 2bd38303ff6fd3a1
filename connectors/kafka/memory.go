package kafka

import "github.com/divisi-data/divisi/dataflow"

// reserve takes most bytes, or half or a quarter of them and so on where memory is short,
// and in any case least, which cannot be done without.
func reserve(m *dataflow.Memory, most, least int64) (int64, error) {
	for n := most; n > least; n /= 2 {
		if m.TryReserve(n) {
			return n, nil
		}
	}
	return least, m.Reserve(least)
}
