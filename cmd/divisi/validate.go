package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/storage"
)

type validateOptions struct {
	app *app
	uri string
}

func validateCommand(a *app) *cobra.Command {
	o := validateOptions{app: a}
	cmd := &cobra.Command{
		Use: "validate OUT", Short: "Check that an output folder is whole", Args: between(1, 1),
		Long: "Check that an output is complete: _SUCCESS is there, every part can be read to its end, no\n" +
			"part comes twice, and nothing else is in the folder. Exits 7 if not. A task without rows\n" +
			"writes no part, so numbers may be missing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.uri = args[0]
			return validate(cmd.Context(), o)
		},
	}
	a.outputFlag(cmd)
	return cmd
}

type validateDoc struct {
	versioned
	Output   string   `json:"output"`
	Whole    bool     `json:"whole"`
	Parts    int      `json:"parts"`
	Bytes    int64    `json:"bytes"`
	Problems []string `json:"problems"`
}

func validate(ctx context.Context, o validateOptions) error {
	fsys, name, err := storage.Resolve(ctx, o.uri)
	if err != nil {
		return err
	}
	d := &validateDoc{Output: o.uri, Problems: []string{}}
	bad := func(format string, a ...any) { d.Problems = append(d.Problems, fmt.Sprintf(format, a...)) }
	success, seen := false, map[int]string{}
	for info, err := range fsys.List(ctx, name) {
		if err != nil {
			return err
		}
		base := strings.TrimPrefix(strings.TrimPrefix(info.Name, name), "/")
		n, isPart := partNumber(base)
		switch {
		case base == "_SUCCESS":
			success = true
			if info.Size != 0 {
				bad("_SUCCESS is not empty")
			}
		case isPart:
			if other, twice := seen[n]; twice {
				bad("%s and %s have the same number", other, base)
			}
			seen[n] = base
			size, err := readWhole(ctx, fsys, info.Name)
			if err != nil {
				bad("%s: %v", base, err)
			} else if size != info.Size {
				bad("%s: %d bytes are listed, %d can be read", base, info.Size, size)
			}
			d.Parts, d.Bytes = d.Parts+1, d.Bytes+size
		default:
			bad("%s does not belong to an output", path.Join(name, base))
		}
	}
	if !success {
		bad("_SUCCESS is missing: the job has not ended well, or this is no output")
	}
	if storage.Scheme(o.uri) == "file" {
		left, err := leftovers(filepath.FromSlash(name))
		if err != nil {
			return err
		}
		for _, l := range left {
			bad("%s was left by a job", l)
		}
	}
	d.Whole = len(d.Problems) == 0
	err = printOne(o.app, d, func(w io.Writer) {
		if d.Whole {
			fmt.Fprintf(w, "%s is whole: %d parts, %s\n", d.Output, d.Parts, console.Bytes(d.Bytes))
		}
	})
	if !d.Whole {
		err = errors.Join(console.Exitf(console.CheckFailed, "%s is not a whole output:\n  %s", o.uri, console.Plain(strings.Join(d.Problems, "\n  "))), err)
	}
	return err
}

// partNumber is n of part-NNNNN[.suffix].
func partNumber(base string) (int, bool) {
	rest, ok := strings.CutPrefix(base, "part-")
	digits, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && len(digits) >= 5 && n >= 0 && !strings.Contains(rest, "/")
}

// readWhole reads an object to its end, as any reader would.
func readWhole(ctx context.Context, fsys storage.Filesystem, name string) (int64, error) {
	f, err := fsys.Open(ctx, name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(crc32.NewIEEE(), io.NewSectionReader(f, 0, f.Size()))
}

// leftovers are the hidden folders of attempts in or beside a local folder, which
// listings do not show.
func leftovers(dir string) ([]string, error) {
	var found []string
	beside, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".divisi-*", filepath.Base(dir)))
	if err != nil {
		return nil, err
	}
	found = append(found, beside...)
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".divisi") {
			found = append(found, name)
			return fs.SkipDir
		}
		return err
	})
	return found, err
}
