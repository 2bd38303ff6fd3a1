package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/colinmarc/hdfs/v2"
	"github.com/divisi-data/divisi/storage"
)

const (
	// idleMax is how many readers an open file keeps for the next ReadAt. Each
	// holds a connection to a DataNode.
	idleMax = 4
	// skipMax is how far a reader reads on rather than to begin anew.
	skipMax = 64 << 10
)

// file is an open file of the size it had when it was opened. Each ReadAt has a
// reader to itself, of which some are kept where they stopped: reading on from
// there costs nothing.
type file struct {
	fs     *FS
	name   string
	opened *status

	mu     sync.Mutex
	idle   []*reader // the last used comes last
	closed bool
}

// A reader reads on from where it is. It is used by one goroutine.
type reader struct {
	r   *hdfs.FileReader
	c   *connection
	pos int64
	// checked is set once the blocks it reads are known to be those of the file
	// that was opened.
	checked bool
}

var (
	errChecksum   = errors.New("the bytes are not those of HDFS's checksum, on any replica")
	errProtection = errors.New("a DataNode's answer makes no sense; where data connections are protected (dfs.data.transfer.protection, dfs.encrypt.data.transfer) this driver can read only with AES: set dfs.encrypt.data.transfer.cipher.suites to AES/CTR/NoPadding on the cluster, or the protection to authentication")
)

// garbled and unparsed know the library's errors by their words: they have no type.
// Its layer for data connections that are signed, or encrypted with RC4, loses bytes
// where a read ends in the middle of a message.
func garbled(err error) bool { return err.Error() == "invalid checksum" }

func unparsed(err error) bool {
	return strings.HasPrefix(err.Error(), "proto:") || strings.HasPrefix(err.Error(), "invalid response from datanode")
}

// Open opens a file for reading.
func (fs *FS) Open(ctx context.Context, name string) (storage.File, error) {
	name, err := begin(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	s, err := fs.stat(ctx, name)
	switch {
	case err != nil:
	case kind(s) == isDir:
		err = errors.New("is a folder: name a file in it, or use it as an input where folders are taken")
	case kind(s) != isFile:
		err = errors.New("is no regular file")
	default:
		err = refused(s)
	}
	if err != nil {
		return nil, failed("open", name, err)
	}
	return &file{fs: fs, name: name, opened: s}, nil
}

func (f *file) Size() int64 { return int64(f.opened.GetLength()) }

func (f *file) Close() error {
	f.mu.Lock()
	idle := f.idle
	f.idle, f.closed = nil, true
	f.mu.Unlock()
	for _, r := range idle {
		r.r.Close()
	}
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, failed("read", f.name, fmt.Errorf("negative offset %d", off))
	}
	if off >= f.Size() && len(p) > 0 {
		return 0, io.EOF
	}
	ended := int64(len(p)) > f.Size()-off
	if ended {
		p = p[:max(0, f.Size()-off)]
	}
	n, err := f.readAll(p, off)
	switch {
	case err != nil:
		return n, failed("read", f.name, err)
	case ended:
		return n, io.EOF
	}
	return n, nil
}

// readAll reads all of p, beginning anew with what is missing when a reader fails.
// The time for that begins anew with each byte that arrives.
func (f *file) readAll(p []byte, off int64) (int, error) {
	done, bad := 0, 0
	f.fs.repeats.First()
	began := time.Now()
	pause := 50 * time.Millisecond
	for done < len(p) {
		n, err := f.readSome(p[done:], off+int64(done))
		done += n
		if err == nil {
			continue
		}
		if n > 0 {
			began, bad, pause = time.Now(), 0, 50*time.Millisecond
		}
		if err = interpret(err); !passing(err) {
			return done, err
		}
		if garbled(err) {
			if bad++; bad == 3 {
				return done, fmt.Errorf("%w (at byte %d)", errChecksum, off+int64(done))
			}
		}
		if unparsed(err) {
			if bad++; bad == 3 {
				return done, fmt.Errorf("%w (%w)", errProtection, err)
			}
		}
		if time.Since(began) > f.fs.patience {
			return done, fmt.Errorf("%w: no replica of byte %d could be read for %v: %w", storage.ErrTransient, off+int64(done), time.Since(began).Round(time.Second), err)
		}
		// A File has no context: closing it is what ends the wait early.
		_ = wait(context.Background(), max(pause, f.fs.repeats.Take()))
		pause = min(2*pause, time.Second)
	}
	return done, nil
}

// readSome reads with one reader, until p is full or that fails.
func (f *file) readSome(p []byte, off int64) (int, error) {
	r, err := f.take(off)
	if err != nil {
		return 0, err
	}
	n, err := r.read(f, p, off)
	if err != nil {
		r.r.Close()
		return n, err
	}
	f.give(r)
	return n, nil
}

// take gives the reader that is nearest before an offset, any other, or a new one.
func (f *file) take(off int64) (*reader, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, os.ErrClosed
	}
	best := -1
	for i, r := range f.idle {
		if r.pos <= off && off-r.pos <= skipMax && (best < 0 || r.pos > f.idle[best].pos) {
			best = i
		}
	}
	if best < 0 && len(f.idle) == idleMax {
		best = 0 // the longest unused
	}
	if best >= 0 {
		r := f.idle[best]
		f.idle = append(f.idle[:best], f.idle[best+1:]...)
		f.mu.Unlock()
		return r, nil
	}
	f.mu.Unlock()
	c, err := f.fs.reading.get()
	if err != nil {
		return nil, err
	}
	r, err := c.Open(f.name)
	if err != nil {
		return nil, f.missing(err)
	}
	if err := f.same(r.Stat().Sys().(*status)); err != nil {
		r.Close()
		return nil, err
	}
	return &reader{r: r, c: c}, nil
}

func (f *file) give(r *reader) {
	f.mu.Lock()
	if !f.closed && len(f.idle) < idleMax {
		f.idle = append(f.idle, r)
		r = nil
	}
	f.mu.Unlock()
	if r != nil {
		r.r.Close()
	}
}

// same says how a file is not the one that was opened.
func (f *file) same(s *status) error {
	if s.GetFileId() != f.opened.GetFileId() || s.GetLength() < f.opened.GetLength() {
		return final{errors.New("it was replaced or cut while it was read")}
	}
	return nil
}

func (f *file) missing(err error) error {
	if err = interpret(err); errors.Is(err, storage.ErrNotExist) {
		return fmt.Errorf("it was removed while it was read: %w", err)
	}
	return err
}

// read fills p from an offset.
func (r *reader) read(f *file, p []byte, off int64) (int, error) {
	if off != r.pos {
		if err := r.move(off); err != nil {
			return 0, err
		}
	}
	done := 0
	for done < len(p) {
		var n int
		err := r.c.data(func() (err error) {
			n, err = r.piece(p[done:])
			return err
		})
		if err == nil && !r.checked {
			err = r.check(f)
			if err != nil {
				return 0, err
			}
		}
		done += n
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // the file is longer, by what it was opened with
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// piece reads fewer bytes than lie under one checksum, for the library hands out
// larger pieces before it has compared them, and swallows what that finds.
func (r *reader) piece(p []byte) (int, error) {
	n, err := r.r.Read(p[:min(len(p), max(1, min(r.c.chunk, 512)-1))])
	r.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// move goes to an offset: by reading, if that is near and ahead, or by beginning
// anew. The library's own way to skip ahead loses count of where it is.
func (r *reader) move(off int64) error {
	if gap := off - r.pos; r.checked && gap > 0 && gap <= skipMax {
		var waste [512]byte
		for r.pos < off {
			if _, err := r.piece(waste[:min(int64(len(waste)), off-r.pos)]); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
		return nil
	}
	// To seek to where it is already makes it forget its connection.
	if _, err := r.r.Seek(r.pos, io.SeekStart); err != nil {
		return err
	}
	if _, err := r.r.Seek(off, io.SeekStart); err != nil {
		return err
	}
	r.pos = off
	return nil
}

// check asks whether the name still means the file that was opened. The library
// has asked for its blocks by name by now, so they are that file's.
func (r *reader) check(f *file) error {
	s, err := stat(r.c, f.name)
	if err != nil {
		return f.missing(err)
	}
	if err := f.same(s); err != nil {
		return err
	}
	r.checked = true
	return nil
}
