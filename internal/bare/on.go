//go:build divisibench

// Package bare leaves out what makes results durable and checked, in a build for
// benchmarks alone, so that its cost can be measured. Without the build tag divisibench
// the answers are constants, and nothing is left of the questions.
package bare

import (
	"os"
	"strings"
)

// Env names the variable that lists, with commas, what is left out.
const Env = "DIVISI_BENCH_WITHOUT"

var without = func() map[string]bool {
	all := map[string]bool{}
	for name := range strings.SplitSeq(os.Getenv(Env), ",") {
		switch name {
		case "":
		case "journal", "hashes", "manifests":
			all[name] = true
		default:
			panic(Env + ": nothing is called " + name + ": journal, hashes or manifests")
		}
	}
	return all
}()

var journal, hashes, manifests = without["journal"], without["hashes"], without["manifests"]

// Journal says whether the journal is not written.
func Journal() bool { return journal }

// Hashes says whether rows have no hash, and frames and sealed files no checksum.
func Hashes() bool { return hashes }

// Manifests says whether outputs are published without a manifest.
func Manifests() bool { return manifests }
