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

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```\n\n\\(`([a-zA-Z0-9_/.-]+_test\\.go)` ((?:Test|test)[A-Za-z0-9_]*)")

// TestPagesAreTested: the Go programs on the pages of connectors and storage stand in
// the test that is named below them, and whatever test a page names is there.
func TestPagesAreTested(t *testing.T) {
	root := filepath.Join("..", "..")
	for _, page := range []string{"kafka.md", "s3.md", "hdfs.md", "security.md"} {
		raw, err := os.ReadFile(filepath.Join(root, "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		blocks := goBlock.FindAllStringSubmatch(text, -1)
		if n := strings.Count(text, "```go\n"); n != len(blocks) {
			t.Errorf("%s: %d programs, of which %d name a test", page, n, len(blocks))
		}
		for _, b := range blocks {
			code, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(b[2])))
			if err != nil || !strings.Contains(string(code), b[1]) {
				t.Errorf("%s: the program is not in %s:\n%s", page, b[2], b[1])
			}
		}
		named := anyTest.FindAllStringSubmatch(text, -1)
		if len(named) == 0 {
			t.Errorf("%s names no test", page)
		}
		for _, m := range named {
			code, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m[1])))
			if err != nil || !strings.Contains(string(code), "\nfunc "+m[2]+"(") {
				t.Errorf("%s: there is no %s in %s", page, m[2], m[1])
			}
		}
	}
}

var anyTest = regexp.MustCompile("`([a-zA-Z0-9_/.-]+_test\\.go)` ((?:Test|test)[A-Za-z0-9_]*)")
