// Package services starts real servers for tests: it installs a pinned version
// through the language's own package client into a cache, starts it on loopback
// with a folder of its own, waits until it has answered a real request, and stops
// what it started when the test ends.
//
// Nothing outside the cache and the test's temporary folder is written. The cache
// is DIVISI_SERVICES_CACHE, or divisi-services in the user's cache folder.
//
// A test that cannot have its server is skipped with the reason; where CI=true is
// set it fails instead, so that a suite cannot stop running unseen. With -short
// every such test is skipped. Servers that take long to build are installed only
// where DIVISI_SERVICES=all asks for them (make services), and used whenever they
// are in the cache already.
//
// To add a server: a file of its own with the pinned version, how it is installed
// (goInstall, or a function like it given to installed), the command, what tells
// that it is ready, and the values that a client needs.
package services

import (
	"os"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// all reports whether even the slow installations are wanted.
func all() bool { return os.Getenv("DIVISI_SERVICES") == "all" }

// unless ends the test if it cannot have its server: as a failure in CI, skipped
// elsewhere.
func unless(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no server for this test, and CI must have it: %v", err)
	}
	t.Skipf("SKIPPED, no server for this test: %v", err)
}

// Deaths is for tests in which servers die, hang and come back: they take minutes and
// wait for the servers' own time-outs, so they run where DIVISI_SERVICES=all asks for
// them (make services) and not with every change.
func Deaths(t testing.TB) {
	t.Helper()
	asked(t, "servers die in this test, which takes minutes")
}

// Clusters is for tests that run jobs on processes beside the servers: on a machine with
// other work they take minutes too, so they run where Deaths do.
func Clusters(t testing.TB) {
	t.Helper()
	asked(t, "this test has servers and a cluster of processes, which may take minutes")
}

func asked(t testing.TB, why string) {
	t.Helper()
	notShort(t)
	if !all() {
		t.Skipf("SKIPPED: %s; make services runs it", why)
	}
}

// notShort skips in short mode.
func notShort(t testing.TB) {
	t.Helper()
	if race.Short() {
		t.Skip("SKIPPED with -short and under the race detector: this test needs a real server (make test, make services)")
	}
}
