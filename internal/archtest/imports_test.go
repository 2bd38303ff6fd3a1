package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/divisi-data/divisi"

// policy is the house: each package of the module and what of the module it may
// import besides itself. A name ending in /... stands for a folder and all below
// it. Tests (files and packages that only tests import) may also import what
// testsToo lists. Arrows point down; a sideways line is a decision.
var policy = []struct{ pkg, may string }{
	// Floor 0.
	{"dataflow/expr", ""},
	{"proto", ""},
	{"proto/divisipb", ""},
	{"internal/version", ""},
	{"internal/mutant", ""},
	{"internal/bare", ""},
	{"internal/archtest", ""},
	{"internal/race", ""},
	{"internal/crc32c", ""},                // of frames, and of what every storage seals
	{"internal/services", "internal/race"}, // real servers for tests
	{"internal/faultproxy", ""},            // a bad network for tests
	{"internal/security", ""},              // who may call whom
	{"internal/chaos", "internal/faultproxy"},

	// Floor 1: batches, and bytes.
	{"dataflow", "dataflow/expr internal/bare"},
	{"storage", ""},

	// Floor 2.
	{"dataflow/block", "dataflow internal/bare internal/crc32c"},
	{"dataflow/order", "dataflow"},
	{"dataflow/sketch", ""},
	{"dataflow/ops", "dataflow dataflow/expr dataflow/order dataflow/block dataflow/sketch"},
	{"dataflow/ops/opstest", "dataflow dataflow/expr dataflow/order internal/race"},
	{"dataflow/block/blocktest", "dataflow"},
	{"dataflow/plan", "dataflow dataflow/expr dataflow/order"},
	{"dataflow/streaming", "dataflow"},
	{"dataflow/shuffle", "dataflow dataflow/order dataflow/block dataflow/plan storage"},
	{"storage/local", "storage internal/bare internal/crc32c"},
	{"storage/mem", "storage"},
	{"storage/hdfs", "storage internal/crc32c"},
	{"storage/s3", "storage internal/crc32c"},
	{"storage/faulty", "storage"},
	{"storage/storagetest", "storage storage/faulty"},
	{"connectors/files", "internal/bare connectors/files/codec dataflow dataflow/expr storage"},
	{"connectors/files/codec", ""}, // streams of bytes, no files
	{"connectors/files/filestest", "connectors/files dataflow dataflow/expr storage internal/race"},
	{"connectors/files/...", "connectors/files connectors/files/codec dataflow dataflow/expr storage"},
	{"connectors/kafka", "dataflow dataflow/expr connectors/files connectors/files/jsonl"}, // the words of schemas, values as text, JSON
	{"connectors/connectortest", "dataflow"},

	// Floor 3: never each other; they meet in proto.
	{"coordinator/job", "dataflow dataflow/plan internal/mutant"},
	{"coordinator/sched", "dataflow dataflow/plan internal/mutant"},
	{"coordinator/journal", "proto/divisipb internal/bare"},
	{"coordinator/web", "proto/divisipb internal/version"},
	{"coordinator", "coordinator/job coordinator/sched coordinator/journal coordinator/web dataflow dataflow/plan proto/divisipb internal/version internal/mutant internal/security"},
	{"worker/exchange", "dataflow dataflow/block dataflow/shuffle proto/divisipb internal/security"},
	{"worker/task", "dataflow dataflow/expr dataflow/order dataflow/plan dataflow/ops dataflow/block dataflow/shuffle worker/exchange proto/divisipb internal/version internal/security"},
	{"worker", "worker/exchange dataflow dataflow/block dataflow/shuffle proto/divisipb internal/version internal/security"},
	{"internal/client", "proto/divisipb dataflow dataflow/plan internal/version internal/security"},
	{"internal/console", "internal/client dataflow dataflow/plan proto/divisipb internal/security"},
	{"internal/sim", "coordinator coordinator/job coordinator/journal dataflow dataflow/plan proto/divisipb internal/version internal/mutant"},

	// Floor 4: the only ones that name drivers.
	{"", "coordinator worker worker/... internal/... dataflow/... storage/... connectors/... dataflow storage proto/divisipb"},
	{"divisitest", ". dataflow dataflow/... storage/... storage connectors/..."},
	{"cmd/divisi", ". coordinator coordinator/... worker worker/... internal/... dataflow dataflow/... storage storage/... connectors/... proto/divisipb"},
	{"examples/...", ". divisitest dataflow dataflow/expr"},
	{"benchmarks", "benchmarks/..."},
	{"benchmarks/...", ". divisitest dataflow dataflow/... coordinator coordinator/journal worker worker/... storage storage/... connectors/... internal/... proto/divisipb benchmarks/..."},
}

// testsToo may be imported by any test.
var testsToo = ". dataflow dataflow/... storage storage/... connectors/... internal/... proto/divisipb divisitest worker/task"

// only lists outside packages that may be imported by the named places alone.
var only = []struct{ outside, by, why string }{
	{"google.golang.org/grpc", "coordinator coordinator/... worker worker/... proto/divisipb internal/client internal/faultproxy internal/security internal/version cmd/divisi . benchmarks/...", "gRPC is floor 3's"},
	{"github.com/twmb/franz-go", "connectors/kafka", "the Kafka client has one home"},
	{"github.com/colinmarc/hdfs", "storage/hdfs", "the HDFS client has one home"},
	{"github.com/minio/minio-go", "storage/s3 benchmarks/s3/bare", "the S3 client has one home, and a benchmark that measures it"},
	{"github.com/apache/arrow-go/v18/arrow/ipc", "dataflow/block connectors/files/arrow", "Arrow IPC is block's; as a file format it is connectors/files/arrow's"},
	{"github.com/apache/arrow-go/v18/arrow/compute", "dataflow/expr dataflow/ops dataflow/ops/opstest connectors/files/parquet worker/task", "Arrow's kernels are expr's and ops' (worker/task hangs the allocator on the context)"},
	{"github.com/apache/arrow-go/v18/parquet", "connectors/files/parquet benchmarks/s3/bare", "Parquet has one home, and a benchmark that measures its library"},
	{"github.com/spf13/cobra", "cmd/divisi", "the command line has one home"},
}

func TestImports(t *testing.T) {
	for _, f := range goFiles(t) {
		pkg := path.Dir(f.name)
		if pkg == "." {
			pkg = ""
		}
		may, known := allowed(pkg)
		if !known {
			t.Errorf("%s: package %q has no floor: give it one in internal/archtest first", f.name, pkg)
			continue
		}
		test := strings.HasSuffix(f.name, "_test.go")
		for _, imp := range f.ast.Imports {
			dep, _ := strconv.Unquote(imp.Path.Value)
			if rest, ours := cutModule(dep); ours {
				if rest == pkg || matches(may, rest) || test && matches(testsToo, rest) {
					continue
				}
				t.Errorf("%s imports %s, which is not below it: see the policy in internal/archtest", f.name, dep)
				continue
			}
			for _, o := range only {
				if !test && (dep == o.outside || strings.HasPrefix(dep, o.outside+"/")) && !matches(o.by, pkg) {
					t.Errorf("%s imports %s: %s", f.name, dep, o.why)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said := map[string]bool{}
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.name, "_test.go") || strings.Contains(f.name, "divisipb/") {
			continue
		}
		dir := path.Dir(f.name)
		said[dir] = said[dir] || f.ast.Doc != nil
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("package in %s has no package comment", dir)
		}
	}
}

func TestNoDrawerNames(t *testing.T) {
	for _, f := range goFiles(t) {
		for part := range strings.SplitSeq(path.Dir(f.name), "/") {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "manager", "pkg"}, part) {
				t.Errorf("%s: a folder called %q says nothing: name it after what it does", f.name, part)
			}
		}
	}
}

// TestPolicyCanFail keeps the checks honest: imports that break the rules are seen.
func TestPolicyCanFail(t *testing.T) {
	for _, c := range []struct {
		pkg, dep string
		ok       bool
	}{
		{"dataflow", "storage", false},
		{"dataflow/shuffle", "storage", true},
		{"coordinator", "worker", false},
		{"connectors/files/csv", "connectors/files", true},
		{"connectors/files/csv", "connectors/kafka", false},
		{"examples/wordcount", "", true},
		{"coordinator/job", "proto/divisipb", false},
	} {
		may, known := allowed(c.pkg)
		if !known {
			t.Errorf("%s has no floor", c.pkg)
		}
		if got := matches(may, c.dep); got != c.ok {
			t.Errorf("%s may import %q: %v, want %v", c.pkg, c.dep, got, c.ok)
		}
	}
	if _, known := allowed("nowhere"); known {
		t.Error("an unknown package has a floor")
	}
}

func allowed(pkg string) (may string, known bool) {
	for _, p := range policy { // an exact row wins over a folder's
		if p.pkg == pkg {
			return p.may, true
		}
	}
	for _, p := range policy {
		if dir, ok := strings.CutSuffix(p.pkg, "/..."); ok && strings.HasPrefix(pkg, dir+"/") {
			return p.may, true
		}
	}
	return "", false
}

// matches reports whether list names pkg; "." names the root package.
func matches(list, pkg string) bool {
	for _, m := range strings.Fields(list) {
		if m == pkg || m == "." && pkg == "" {
			return true
		}
		if dir, ok := strings.CutSuffix(m, "/..."); ok && strings.HasPrefix(pkg, dir+"/") {
			return true
		}
	}
	return false
}

func cutModule(dep string) (string, bool) {
	if dep == module {
		return "", true
	}
	return strings.CutPrefix(dep, module+"/")
}

type goFile struct {
	name string // from the module's root, with slashes
	ast  *ast.File
}

// goFiles parses the imports of all Go files of the module; modules of their own
// inside the repository and testdata are left out.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	root := filepath.Join("..", "..")
	var files []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if p != root && (strings.HasPrefix(name, ".") && name != ".." || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			if p != root {
				if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
					return filepath.SkipDir
				}
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		files = append(files, goFile{filepath.ToSlash(rel), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("found only %d Go files: is the test run inside the module?", len(files))
	}
	return files
}
