// Package race tells tests whether they run under the race detector, which makes a
// program some ten times slower: what needs minutes is left out there, and what looks
// for wrong results by many tries in one goroutine makes few of them.
package race

import "testing"

// Short says whether a test that takes long is to be left out: under -short, and under
// the race detector.
func Short() bool { return testing.Short() || Enabled }

// Tries is how many tries a test makes: all, fewer under -short, and the fewest under
// the race detector.
func Tries(all, short, raced int) int {
	switch {
	case Enabled:
		return raced
	case testing.Short():
		return short
	}
	return all
}

// Stride is 1, or n under the race detector: of a loop over every byte of a file, for
// instance.
func Stride(n int) int { return Tries(1, 1, n) }
