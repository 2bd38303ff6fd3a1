package hdfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/colinmarc/hdfs/v2"
	"github.com/divisi-data/divisi/internal/crc32c"
	"github.com/divisi-data/divisi/storage"
)

// smallMax is how many bytes an attempt keeps before it writes any: up to here it
// can be written again when a DataNode fails.
const smallMax = 1 << 20

// object is an attempt that is being written.
type object struct {
	fs *FS
	place
	ctx       context.Context // of Create: Write may have to begin anew, and has none
	w         *hdfs.FileWriter
	kept      []byte // all that was written, while that is little
	streaming bool   // it was not little: bytes go to w at once
	dirty     bool   // w was written to, and holds a connection
	sum       uint32 // CRC32C
	size      int64
	err       error // what broke w

	sealed *storage.Sealed // set by a Seal that succeeded
	ended  bool
}

// Create begins an attempt for a name, out of sight.
func (fs *FS) Create(ctx context.Context, name string) (storage.Object, error) {
	name, err := begin(ctx, "create", name)
	if err != nil {
		return nil, err
	}
	o, err := fs.newObject(ctx, name)
	if err != nil {
		return nil, failed("create", name, err)
	}
	return o, nil
}

func (fs *FS) newObject(ctx context.Context, name string) (*object, error) {
	if reserved(name) {
		return nil, errors.New("a part of the name is reserved for unpublished files: no folder may be called " + hidden + " or begin with " + hidden + "-")
	}
	if name == "/" {
		return nil, errors.New("the root of all files is a folder")
	}
	p, w, err := fs.begun(ctx, name, storage.OwnerFolder(storage.Owner(ctx)))
	if err != nil {
		return nil, err
	}
	return &object{fs: fs, place: p, ctx: ctx, w: w}, nil
}

func (o *object) Write(p []byte) (int, error) {
	if o.ended {
		return 0, failed("write", o.name, os.ErrClosed)
	}
	if o.err != nil {
		return 0, failed("write", o.name, o.err)
	}
	n := len(p)
	if !o.streaming && len(o.kept)+len(p) <= smallMax {
		o.kept = append(o.kept, p...)
	} else {
		if !o.streaming {
			if err := o.writeKept(o.ctx, func() error { return nil }); err != nil {
				return 0, failed("write", o.name, err)
			}
			o.streaming, o.kept = true, nil
		}
		var err error
		if n, err = o.stream(p); err != nil {
			return n, failed("write", o.name, err)
		}
	}
	o.sum = crc32c.Update(o.sum, p)
	o.size += int64(n)
	return n, nil
}

// stream gives bytes to the library, and remembers that it failed: it may say that
// it has not, the next time.
func (o *object) stream(p []byte) (n int, err error) {
	c, err := o.fs.writing.get()
	if err == nil && len(p) > 0 {
		o.dirty = true
		err = c.data(func() (err error) {
			n, err = o.w.Write(p)
			return err
		})
	}
	if err != nil {
		o.err = broken(err)
	}
	return n, o.err
}

// broken says what a failed write means for its attempt.
func broken(err error) error {
	err = interpret(err)
	switch {
	case errors.Is(err, storage.ErrNotExist), errors.Is(err, storage.ErrGone):
		return fmt.Errorf("%w: it was swept or removed while it was written (%w)", storage.ErrGone, err)
	case passing(err) && !errors.Is(err, storage.ErrTransient):
		return fmt.Errorf("%w: a DataNode that the file was written to failed: %w (write it again, as a new attempt)", storage.ErrTransient, err)
	}
	return err
}

func (o *object) Seal(ctx context.Context) (storage.Sealed, error) {
	if o.sealed != nil {
		return *o.sealed, nil
	}
	if o.ended {
		return storage.Sealed{}, failed("seal", o.name, os.ErrClosed)
	}
	if err := o.complete(ctx); err != nil {
		return storage.Sealed{}, errors.Join(failed("seal", o.name, err), o.Abort(context.WithoutCancel(ctx)))
	}
	o.ended, o.kept = true, nil
	o.sealed = &storage.Sealed{Name: o.name, Token: o.token(), Size: o.size, CRC32: o.sum}
	return *o.sealed, nil
}

func (o *object) complete(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.err != nil {
		return o.err
	}
	if o.streaming {
		if err := closeWriter(ctx, o.w); err != nil {
			o.err = broken(err)
			return o.err
		}
		return o.verify(ctx)
	}
	return o.writeKept(ctx, func() error {
		err := closeWriter(ctx, o.w)
		if err == nil {
			err = o.verify(ctx)
		}
		if err != nil {
			o.err = broken(err)
		}
		return o.err
	})
}

// writeKept writes the bytes that were kept, and what then is to be done with the
// file, as often as it takes: each time to a new file, on other DataNodes.
func (o *object) writeKept(ctx context.Context, then func() error) error {
	return o.fs.retry(ctx, func() error {
		if o.err != nil {
			if err := o.renew(ctx); err != nil {
				return err
			}
		}
		if _, err := o.stream(o.kept); err != nil {
			return err
		}
		return then()
	})
}

// closeWriter ends a file. The NameNode waits for a DataNode to report the last
// block, and says so; any other failure may not be asked about again, for the
// library would then end the file without the bytes that did not arrive.
func closeWriter(ctx context.Context, w *hdfs.FileWriter) error {
	until := time.Now().Add(time.Minute)
	pause := 10 * time.Millisecond
	for {
		err := w.Close()
		if !hdfs.IsErrReplicating(err) || time.Now().After(until) {
			return err
		}
		if werr := wait(ctx, pause); werr != nil {
			return errors.Join(werr, err)
		}
		pause = min(2*pause, time.Second)
	}
}

// verify asks the NameNode what has become of the attempt: somebody may have swept
// it, and then a receipt must not say that it is there.
func (o *object) verify(ctx context.Context) error {
	return o.fs.do(ctx, func(c *connection) error {
		s, err := stat(c, o.temp)
		switch err = interpret(err); {
		case errors.Is(err, storage.ErrNotExist):
			return fmt.Errorf("%w: it was swept or removed while it was written (%w)", storage.ErrGone, err)
		case err != nil:
			return err
		case s.GetFileId() != o.inode || int64(s.GetLength()) != o.size:
			return fmt.Errorf("%w: %d bytes were written and the NameNode counts %d", storage.ErrTransient, o.size, s.GetLength())
		}
		return nil
	})
}

// renew puts a new file in the place of one whose writing failed, unless somebody
// has swept that.
func (o *object) renew(ctx context.Context) error {
	old := *o
	p, w, err := o.fs.begun(ctx, o.name, o.folder)
	if err != nil {
		return err
	}
	o.place, o.w, o.err, o.dirty = p, w, nil, false
	err = o.fs.do(ctx, func(c *connection) error {
		_, err := stat(c, old.temp)
		return err
	})
	if errors.Is(err, storage.ErrNotExist) {
		return fmt.Errorf("%w: it was swept or removed while it was written", storage.ErrGone)
	}
	return errors.Join(err, old.discard(ctx))
}

func (o *object) Abort(ctx context.Context) error {
	if o.ended {
		return nil
	}
	o.ended, o.kept = true, nil
	return failed("abort", o.name, o.discard(ctx))
}

// discard removes the attempt's file, then lets go of what the library holds.
func (o *object) discard(ctx context.Context) error {
	err := o.fs.drop(ctx, o.place)
	if o.dirty {
		// A deadline in the past: nothing more is sent, and nobody is waited for.
		_ = o.w.SetDeadline(time.Unix(1, 0))
		_ = o.w.Close()
	}
	return err
}

// drop removes an attempt's file, if it is there, and the folders it leaves empty.
func (fs *FS) drop(ctx context.Context, p place) error {
	return fs.do(ctx, func(c *connection) error {
		if _, err := remove(c, p.temp, false); err != nil {
			return err
		}
		c.prune(p)
		return nil
	})
}
