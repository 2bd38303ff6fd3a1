//go:build !divisibench

// Package bare leaves out what makes results durable and checked, in a build for
// benchmarks alone, so that its cost can be measured. Without the build tag divisibench
// the answers are constants, and nothing is left of the questions.
package bare

// Journal says whether the journal is not written.
func Journal() bool { return false }

// Hashes says whether rows have no hash, and frames and sealed files no checksum.
func Hashes() bool { return false }

// Manifests says whether outputs are published without a manifest.
func Manifests() bool { return false }
