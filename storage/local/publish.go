package local

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/divisi-data/divisi/storage"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Publish renames a sealed attempt to its name and makes the name durable.
func (FS) Publish(ctx context.Context, s storage.Sealed) error {
	if err := ctx.Err(); err != nil {
		return failed("publish", s.Name, err)
	}
	storage.Advance(ctx)
	p, err := parse("publish", s)
	if err != nil {
		return err
	}
	if err := publish(ctx, p, s); err != nil {
		return failed("publish", p.name, err)
	}
	p.prune()
	return failed("publish", p.name, flush(path.Dir(p.name), p.anchor))
}

func publish(ctx context.Context, p place, s storage.Sealed) error {
	for range 1000 {
		fi, err := os.Lstat(p.temp)
		if absent(err) {
			return published(p, s)
		}
		if err != nil {
			return err
		}
		if !fi.Mode().IsRegular() || fi.Size() != s.Size {
			return fmt.Errorf("the sealed file %s has %d bytes, its receipt says %d: it was changed after it was sealed", p.temp, fi.Size(), s.Size)
		}
		if err = mkdirs(p.anchor, path.Dir(p.name)); err == nil {
			err = os.Rename(p.temp, p.name)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EXDEV):
			return publishAcross(ctx, p, s)
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("a folder is in the way: %w", err)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		// Another process was first with the attempt, or removed the folder.
	}
	return errors.New("its folder vanishes again and again")
}

// published says whether the name already holds what was sealed.
func published(p place, s storage.Sealed) error {
	size, sum, err := checksum(p.name)
	switch {
	case absent(err):
		return fmt.Errorf("%w: neither the sealed file %s nor the final one is there: it was discarded or swept", storage.ErrGone, p.temp)
	case err != nil:
		return err
	case size != s.Size || sum != s.CRC32:
		return fmt.Errorf("%w: the sealed file %s is not there and the name holds something else (%d bytes, crc32c %08x; sealed were %d bytes, crc32c %08x)",
			storage.ErrGone, p.temp, size, sum, s.Size, s.CRC32)
	}
	return nil
}

func checksum(name string) (int64, uint32, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return 0, 0, err
	}
	if err := readable(fi); err != nil {
		return 0, 0, err
	}
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, f)
	return n, sum.Sum32(), err
}

// publishAcross is for two mounts that looked like one disk: the attempt is
// copied, as an attempt of the same owner, into the final folder and renamed there.
func publishAcross(ctx context.Context, p place, s storage.Sealed) error {
	src, err := os.Open(p.temp)
	if absent(err) {
		return published(p, s)
	}
	if err != nil {
		return err
	}
	defer src.Close()
	copied, f, err := begun(ctx, p.name, p.folder, true)
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(f, sum), src)
	if err == nil && (n != s.Size || sum.Sum32() != s.CRC32) {
		err = fmt.Errorf("the sealed file %s was changed after it was sealed", p.temp)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(copied.temp, copied.name)
	}
	if err != nil {
		return errors.Join(err, drop(copied))
	}
	copied.prune()
	return drop(p)
}

// Discard removes a sealed attempt. What is published stays.
func (FS) Discard(ctx context.Context, s storage.Sealed) error {
	if err := ctx.Err(); err != nil {
		return failed("discard", s.Name, err)
	}
	p, err := parse("discard", s)
	if err != nil {
		return err
	}
	return failed("discard", p.name, drop(p))
}

// CreateIfAbsent writes a file, makes it durable, then links it to its name, which
// fails where the name is taken. The file is an attempt where it has to have a name
// before.
func (FS) CreateIfAbsent(ctx context.Context, name string, data []byte) error {
	const op = "create if absent"
	name, err := begin(ctx, op, name)
	if err != nil {
		return err
	}
	if reserved(name) {
		return failed(op, name, errReserved)
	}
	if _, err := os.Lstat(name); err == nil {
		return failed(op, name, storage.ErrExist)
	}
	if done, err := createUnnamed(ctx, name, data); done {
		return failed(op, name, err)
	}
	return failed(op, name, createByAttempt(ctx, name, data))
}

// createByAttempt writes and seals an attempt and links that.
func createByAttempt(ctx context.Context, name string, data []byte) error {
	err := createIfAbsent(ctx, name, data, false)
	if errors.Is(err, syscall.EXDEV) {
		err = createIfAbsent(ctx, name, data, true)
	}
	return err
}

// createUnnamed is createIfAbsent without an attempt. It reports whether that was
// possible, or has shown that the name is taken.
func createUnnamed(ctx context.Context, name string, data []byte) (done bool, err error) {
	home := path.Dir(name)
	if err := ctx.Err(); err != nil {
		return true, err
	}
	anchor, err := anchorOf(name, false)
	if err == nil {
		err = mkdirs(anchor, home)
	}
	if err == nil {
		err = linkUnnamed(name, data)
	}
	switch {
	case err == nil:
		return true, flush(home, anchor)
	case errors.Is(err, storage.ErrExist):
		return true, storage.ErrExist
	}
	return false, nil
}

func createIfAbsent(ctx context.Context, name string, data []byte, near bool) error {
	o, err := newObject(ctx, name, storage.Owner(ctx), near)
	if err != nil {
		return err
	}
	if _, err := o.Write(data); err != nil {
		return errors.Join(err, o.Abort(ctx))
	}
	if _, err := o.Seal(ctx); err != nil {
		return err
	}
	if err := mkdirs(o.anchor, path.Dir(name)); err != nil {
		return errors.Join(err, drop(o.place))
	}
	err = linkIfFree(o.temp, name)
	dropped := drop(o.place)
	if err != nil {
		return errors.Join(err, dropped)
	}
	// The name is taken by these bytes now; an attempt's file that could not be
	// dropped is one for Sweep and no failure.
	return flush(path.Dir(name), o.anchor)
}

// linkIfFree gives the attempt its name, or fails with ErrExist.
func linkIfFree(temp, name string) error {
	err := os.Link(temp, name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrExist):
		// A network file system may have asked twice, and its second question
		// found the answer to the first.
		if same(temp, name) {
			return nil
		}
		return storage.ErrExist
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EMLINK):
		err = moveIfFree(temp, name)
		if errors.Is(err, storage.ErrExist) {
			return storage.ErrExist
		}
	}
	return err
}

func same(a, b string) bool {
	fa, err := os.Lstat(a)
	if err != nil {
		return false
	}
	fb, err := os.Lstat(b)
	return err == nil && os.SameFile(fa, fb)
}
