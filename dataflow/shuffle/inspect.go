package shuffle

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/divisi-data/divisi/dataflow/block"
)

// Inspect prints an output for people: its partitions that hold rows and the frames
// of each. path is the output's or that of one of its two files. It checks what can
// be checked without the schema and stops with the first thing that is wrong.
func Inspect(w io.Writer, path string) error {
	switch ext := filepath.Ext(path); ext {
	case ".data", ".index":
		path = strings.TrimSuffix(path, ext)
	}
	x, err := ReadIndex(path)
	if err != nil {
		return err
	}
	all, err := x.Range(0, len(x.Entries))
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %d partitions, %d rows, %d bytes, schema %016x\n", path, len(x.Entries), all.Rows, all.Bytes, x.Schema)
	f, err := OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for p, e := range x.Entries {
		if e.Bytes == 0 {
			continue
		}
		fmt.Fprintf(w, "\npartition %d: %d rows, %d bytes at %d\n", p, e.Rows, e.Bytes, e.Offset)
		if err := block.Inspect(w, io.NewSectionReader(f.data, e.Offset, e.Bytes)); err != nil {
			return fmt.Errorf("%s: partition %d: %w", DataPath(path), p, err)
		}
	}
	return nil
}
