package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/connectors/files"
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
	success, seen := false, map[string]string{}
	for info, err := range fsys.List(ctx, name) {
		if err != nil {
			return err
		}
		base := strings.TrimPrefix(strings.TrimPrefix(info.Name, name), "/")
		n, isPart := partOf(base)
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
	left, err := files.FindLeftovers(ctx, o.uri)
	if err != nil {
		bad("%v", err)
	}
	for _, l := range left {
		bad("%d unpublished files were left by a job, %q: divisi gc shows and removes them", l.Attempts, l.Job)
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

// aPart is the name of a part in its output, in folders of values or not: the number,
// and where a part has several files that of the file, come before the suffix.
var aPart = regexp.MustCompile(`^((?:[^/=_.][^/=]*=[^/]*/)*part-[0-9]{5,}(?:-[0-9]{5,})?)(?:\.[^/]*)?$`)

// partOf is a part's name without the suffix.
func partOf(base string) (string, bool) {
	m := aPart.FindStringSubmatch(base)
	if m == nil {
		return "", false
	}
	return m[1], true
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
