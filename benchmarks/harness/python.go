package harness

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Python is an environment of its own with peers that are Python packages.
type Python struct {
	Dir      string
	Packages []string // each with its version: "duckdb==2.0.1"
	Log      io.Writer
}

// Install makes the environment unless it is there with these packages.
func (p Python) Install(ctx context.Context) error {
	done := filepath.Join(p.Dir, "installed")
	want := strings.Join(slices.Sorted(slices.Values(p.Packages)), "\n")
	if had, err := os.ReadFile(done); err == nil && string(had) == want {
		return nil
	}
	fmt.Fprintf(p.Log, "installing %v\n", p.Packages)
	if err := Command(ctx, "", "python3", "-m", "venv", p.Dir); err != nil {
		return err
	}
	if err := Command(ctx, "", p.Program("pip"), append([]string{"install", "--quiet"}, p.Packages...)...); err != nil {
		return err
	}
	return os.WriteFile(done, []byte(want), 0o644)
}

// Program is the path of one that the packages bring, or of python.
func (p Python) Program(name string) string { return filepath.Join(p.Dir, "bin", name) }

// Version of an installed package.
func (p Python) Version(name string) string {
	return VersionOf(p.Program("python"), "-c", fmt.Sprintf("import importlib.metadata as m; print(m.version(%q))", name))
}
