// Package sketch has summaries of many values in few bytes, which can be merged: how many
// different values there are, and which value has a rank. They are what approximate
// aggregates keep for a group.
//
// A sketch's bytes go through shuffles, where the rows of a task that runs again are
// compared with what it gave before. So the same values in the same order give the same
// bytes, and of a Distinct in any order and however they were merged.
package sketch

import "errors"

// ErrDamaged: what should be a sketch is not what was written.
var ErrDamaged = errors.New("sketch damaged")

// mix spreads a number's bits over all 64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
