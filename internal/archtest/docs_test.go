package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var namedTest = regexp.MustCompile("`([a-zA-Z0-9_/.-]+_test\\.go)` ((?:Test|Example)[A-Za-z0-9_]*)")

// TestMigrationRowsAreTested: each row of the migration tables names a test that exists.
func TestMigrationRowsAreTested(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "migration", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.Contains(line, "| Tested by |") {
				continue
			}
			m := namedTest.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("%s: a row names no test: %s", page, line)
				continue
			}
			code, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m[1])))
			if err != nil || !strings.Contains(string(code), "\nfunc "+m[2]+"(") {
				t.Errorf("%s: there is no %s in %s", page, m[2], m[1])
			}
		}
	}
}
