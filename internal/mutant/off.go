//go:build !mutants

// Package mutant holds the defects that the simulator must be able to find. A place in
// the protocol asks On whether it is to misbehave; without the build tag mutants the
// answer is a constant, and nothing is left of the question.
package mutant

// On says whether the named defect is switched on.
func On(string) bool { return false }
