package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFaultsAreTested: each row of the table of faults names tests, or says that it is not
// there yet, and whatever test it names is there.
func TestFaultsAreTested(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Fault |") {
			continue
		}
		rows++
		named := anyTest.FindAllStringSubmatch(line, -1)
		if len(named) == 0 && !strings.Contains(line, "| Not there yet: ") {
			t.Errorf("a row names no test: %s", line)
		}
		if n := strings.Count(line, "_test.go`"); n != len(named) {
			t.Errorf("%d files of tests, and %d tests in them: %s", n, len(named), line)
		}
		for _, m := range named {
			code, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m[1])))
			if err != nil || !strings.Contains(string(code), "\nfunc "+m[2]+"(t *testing.T)") {
				t.Errorf("there is no %s in %s", m[2], m[1])
			}
		}
	}
	if rows < 25 {
		t.Errorf("only %d rows were found", rows)
	}
}
