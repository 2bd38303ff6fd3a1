// Package version is what the binary calls itself, and the protocol versions that
// peers compare before anything runs.
package version

import "runtime/debug"

// Protocol is compared at every handshake: peers with another number refuse each
// other by name.
const Protocol = 1

// Version is the release, set by the build; "dev" otherwise.
var Version = "dev"

// String is the version for people, with the commit where the build knows it.
func String() string {
	if Version != "dev" {
		return Version
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		if b.Main.Version != "" && b.Main.Version != "(devel)" {
			return b.Main.Version
		}
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				return "dev-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return Version
}
