package main

import (
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/race"
)

// TestCertificatesAreRenewed lets the certificates of a running cluster expire and replaces
// them: whoever comes in between is told whose has expired and when, and afterwards the
// same processes go on, from worker to worker too.
func TestCertificatesAreRenewed(t *testing.T) {
	if race.Short() {
		t.Skip("waits for the end of certificates")
	}
	in, want := words(t, 6)
	ca, dir := filepath.Join(t.TempDir(), "ca"), t.TempDir()
	divisi := filepath.Join(bin, "divisi")
	call := func(args ...string) (string, int) {
		out, err := exec.Command(divisi, args...).CombinedOutput()
		code := 0
		if exit, ok := err.(*exec.ExitError); ok {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		return console.Plain(string(out)), code
	}
	make := func(what, valid string) {
		t.Helper()
		if out, code := call("security", what, ca, "--valid", valid); code != 0 {
			t.Fatal(out)
		}
	}
	make("init", "1h")
	c := mustLaunch(t, divisi, "coordinator", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", filepath.Join(dir, "state"), "--security", filepath.Join(ca, "coordinator"))
	for _, w := range []string{"one", "two"} { // on machines of their own: they fetch over the network
		mustLaunch(t, divisi, "worker", "--coordinator", c.ready.Address, "--dir", filepath.Join(dir, w), "--slots", "1", "--id", w, "--memory", "256MiB", "--machine", w, "--security", filepath.Join(ca, "worker"))
	}
	run := func(out string) {
		t.Helper()
		if said, code := call("run", "--cluster", c.ready.Address, "--security", filepath.Join(ca, "client"), "--partitions", "4", filepath.Join(bin, "job"), "--", in, filepath.Join(dir, out)); code != 0 {
			t.Fatalf("exit %d: %s", code, said)
		}
		if got := outputOf(t, filepath.Join(dir, out)); got != want {
			t.Errorf("%s: got %q, want %q", out, got, want)
		}
	}
	run("before")
	r, err := http.Get("http://" + c.ready.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(r.Body)
	if r.Body.Close(); err != nil || !strings.Contains(string(metrics), "\ndivisi_certificate_seconds_left 3") { // of 3600
		t.Errorf("the metrics do not say when the certificate ends (%v)", err)
	}
	make("renew", "1s")
	eventually(t, "the end of the certificates", func() bool {
		out, code := call("ls", "--cluster", c.ready.Address, "--security", filepath.Join(ca, "client"))
		return code == console.NotAllowed && strings.Contains(out, "(CN=divisi client) has expired on 20") && strings.Contains(out, "security renew")
	})
	make("renew", "1h")
	run("after")
	if strings.Count(c.log.String(), "new certificates") == 0 {
		t.Errorf("the coordinator has not said that it reads new certificates: %s", c.log)
	}
}
