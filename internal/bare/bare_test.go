package bare

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// TestNormalBuildsHaveNoSwitch: a program has nothing of the switch unless it was built
// with the tag.
func TestNormalBuildsHaveNoSwitch(t *testing.T) {
	if race.Short() {
		t.Skip("builds two programs")
	}
	for _, tags := range []string{"", "divisibench"} {
		out := filepath.Join(t.TempDir(), "job")
		cmd := exec.Command("go", "build", "-tags", tags, "-o", out, "../../examples/wordcount")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		program, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if has := bytes.Contains(program, []byte("DIVISI_BENCH_WITHOUT")); has != (tags != "") {
			t.Errorf("built with tags %q it has the switch: %v", tags, has)
		}
	}
}
