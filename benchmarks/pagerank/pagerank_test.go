package pagerank

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the check of the benchmark finds, and what it lets pass.
func TestSame(t *testing.T) {
	b := &bench{truth: map[string]float64{"a": 0.25, "b": 0.75}}
	for text, want := range map[string]string{
		"b\t0.75\na\t0.25\n":           "",
		"a\t0.25000001\nb\t7.5e-1\n":   "",
		"a\t0.25\n":                    "1 nodes, want 2",
		"a\t0.25\nc\t0.75\n":           "node b has rank 0, want 0.75",
		"a\t0.26\nb\t0.75\n":           "node a has rank 0.26, want 0.25",
		"a\t0.25\na\t0.25\nb\t0.75\n":  "node a is there twice",
		"a\tx\nb\t0.75\n":              "invalid syntax",
		"a\t0.25\nb\t0.75\nd\t0.001\n": "3 nodes, want 2",
	} {
		name := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		switch err := b.same(name); {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
