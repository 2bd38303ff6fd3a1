package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/divisi-data/divisi/storage"
)

// file is an open file of the size it had when it was opened: what is appended
// later is not seen, what is cut off is an error and not an early end.
type file struct {
	f    *os.File
	name string
	size int64
}

// Open opens a regular file for reading.
func (FS) Open(ctx context.Context, name string) (storage.File, error) {
	name, err := begin(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	// Asked before opening: to open a pipe is to wait for its writer.
	fi, err := os.Stat(name)
	if err != nil {
		return nil, failed("open", name, linkHint(name, err))
	}
	if err := readable(fi); err != nil {
		return nil, failed("open", name, err)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, failed("open", name, err)
	}
	if fi, err = f.Stat(); err != nil {
		return nil, failed("open", name, errors.Join(err, f.Close()))
	}
	return &file{f, name, fi.Size()}, nil
}

func readable(fi fs.FileInfo) error {
	switch {
	case fi.IsDir():
		return errors.New("is a folder: name a file in it, or use it as an input where folders are taken")
	case !fi.Mode().IsRegular():
		return storage.Invalid(fmt.Errorf("is no regular file but a %s: only files that can be read at any place are taken; write its bytes to a file first", sort(fi.Mode())))
	}
	return nil
}

// sort says in a word what a thing is that is no regular file.
func sort(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// isNull reports whether a device is the one that is always empty.
func isNull(fi fs.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(null, fi)
}

// linkHint says of a missing file that it is the link to it that is there.
func linkHint(name string, err error) error {
	if to, lerr := os.Readlink(name); lerr == nil && absent(err) {
		return fmt.Errorf("broken link to %s: %w", to, err)
	}
	return err
}

func (f *file) Size() int64 { return f.size }

func (f *file) Close() error {
	if err := f.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return failed("close", f.name, err)
	}
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, failed("read", f.name, fmt.Errorf("negative offset %d", off))
	}
	if off >= f.size && len(p) > 0 {
		return 0, io.EOF
	}
	ended := int64(len(p)) > f.size-off
	if ended {
		p = p[:max(0, f.size-off)]
	}
	n, err := f.f.ReadAt(p, off)
	switch {
	case err == io.EOF && n < len(p):
		return n, failed("read", f.name, fmt.Errorf("%w: the file had %d bytes when it was opened and ends at %d now", io.ErrUnexpectedEOF, f.size, off+int64(n)))
	case err != nil && err != io.EOF:
		return n, failed("read", f.name, err)
	case ended:
		return n, io.EOF
	}
	return n, nil
}
