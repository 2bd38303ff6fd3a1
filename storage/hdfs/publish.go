package hdfs

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/divisi-data/divisi/storage"
)

// Publish renames a sealed attempt to its name.
func (fs *FS) Publish(ctx context.Context, s storage.Sealed) error {
	p, err := parse(ctx, "publish", s)
	if err != nil {
		return err
	}
	return failed("publish", p.name, fs.do(ctx, func(c *connection) error {
		for range 1000 { // each round means that the output folder was removed
			have, err := stat(c, p.temp)
			if errors.Is(interpret(err), storage.ErrNotExist) {
				return published(c, p)
			}
			if err != nil {
				return err
			}
			if have.GetFileId() != p.inode || int64(have.GetLength()) != s.Size {
				return final{fmt.Errorf("the sealed file %s has %d bytes and inode %d, its receipt says %d and %d: it was changed after it was sealed",
					p.temp, have.GetLength(), have.GetFileId(), s.Size, p.inode)}
			}
			if err := mkdirs(c, path.Dir(p.name), 0o777&^fs.umask); err != nil {
				return err
			}
			switch err := interpret(rename(c, p.temp, p.name, true)); {
			case err == nil:
				c.prune(p)
				return nil
			case errors.Is(err, storage.ErrExist):
				return fmt.Errorf("a folder is in the way: %w", err)
			case !errors.Is(err, storage.ErrNotExist):
				return err
			}
		}
		return final{errors.New("its folder vanishes again and again")}
	}))
}

// published says whether the name already holds what was sealed.
func published(c *connection, p place) error {
	s, err := stat(c, p.name)
	switch err = interpret(err); {
	case errors.Is(err, storage.ErrNotExist), errors.Is(err, errNotFolder):
		return fmt.Errorf("%w: neither the sealed file %s nor the final one is there: it was discarded or swept", storage.ErrGone, p.temp)
	case err != nil:
		return err
	case s.GetFileId() != p.inode:
		return fmt.Errorf("%w: the sealed file %s is not there and the name holds another (inode %d; sealed was %d)", storage.ErrGone, p.temp, s.GetFileId(), p.inode)
	}
	c.prune(p)
	return nil
}

// Discard removes a sealed attempt. What is published stays.
func (fs *FS) Discard(ctx context.Context, s storage.Sealed) error {
	p, err := parse(ctx, "discard", s)
	if err != nil {
		return err
	}
	return failed("discard", p.name, fs.drop(ctx, p))
}

// CreateIfAbsent writes and seals an attempt, then renames it without overwriting.
func (fs *FS) CreateIfAbsent(ctx context.Context, name string, data []byte) error {
	const op = "create if absent"
	name, err := begin(ctx, op, name)
	if err != nil {
		return err
	}
	return failed(op, name, fs.createIfAbsent(ctx, name, data))
}

func (fs *FS) createIfAbsent(ctx context.Context, name string, data []byte) error {
	_, err := fs.Stat(ctx, name)
	if err == nil {
		return storage.ErrExist
	}
	if !errors.Is(err, storage.ErrNotExist) {
		return err
	}
	o, err := fs.newObject(ctx, name)
	if err != nil {
		return err
	}
	if _, err := o.Write(data); err != nil {
		return errors.Join(err, o.Abort(ctx))
	}
	if _, err := o.Seal(ctx); err != nil {
		return err
	}
	err = fs.do(ctx, func(c *connection) error {
		if err := mkdirs(c, path.Dir(name), 0o777&^fs.umask); err != nil {
			return err
		}
		err := interpret(rename(c, o.temp, name, false))
		if err == nil || passing(err) {
			return err
		}
		// The answer to an earlier question may have been lost, with the rename done.
		if have, serr := stat(c, name); serr == nil && have.GetFileId() == o.inode {
			return nil
		}
		return err
	})
	dropped := fs.drop(context.WithoutCancel(ctx), o.place)
	if errors.Is(err, storage.ErrExist) {
		return storage.ErrExist
	}
	if err != nil {
		return errors.Join(err, dropped)
	}
	// The name is taken by these bytes now; folders that could not be removed are
	// for Sweep and no failure.
	return nil
}
