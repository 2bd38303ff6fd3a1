package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

func infoOf(o entry) storage.Info {
	return storage.Info{Name: o.Key, Size: o.Size, ModTime: o.LastModified, ETag: o.ETag}
}

func byKey(a, b entry) int { return strings.Compare(a.Key, b.Key) }

// shown reports whether a listed key is an object for readers: no mark, and no
// empty stand-in for a folder.
func shown(o entry) (bool, error) {
	switch {
	case reserved(o.Key):
		return false, nil
	case !strings.HasSuffix(o.Key, "/"):
		return true, nil
	case o.Size > 0:
		return false, fmt.Errorf("the key %q ends in a slash and holds %d bytes, which no name leads to: rename it", o.Key, o.Size)
	}
	return false, nil
}

// page asks for the keys after a key, in order, marks and stand-ins included. more
// reports that there may be others.
func (f *FS) page(ctx context.Context, prefix, after string) (keys []entry, more bool, err error) {
	err = f.listing(ctx, prefix, after, true, func(o entry) error {
		if o.Key <= after || len(keys) > 0 && o.Key <= keys[len(keys)-1].Key {
			return &fault{text: fmt.Sprintf("the server lists %q out of order", o.Key)}
		}
		keys = append(keys, o)
		if len(keys) >= f.set.page {
			return errEnough
		}
		return nil
	}, func() { keys = nil })
	return keys, len(keys) >= f.set.page, err
}

// folderPage asks for the keys and folders (whose names end in a slash) directly
// below prefix that come after a name.
func (f *FS) folderPage(ctx context.Context, prefix, after string) (entries []entry, more bool, err error) {
	// A page of an answer has its keys first and its folders behind them, and where
	// pages begin cannot be seen. But none has more entries than were asked for: what
	// came before the last page.
	err = f.listing(ctx, prefix, after, false, func(o entry) error {
		if o.Key <= after {
			return nil // the folder that the listing goes on after
		}
		entries = append(entries, o)
		if len(entries) >= 2*f.set.page {
			return errEnough
		}
		return nil
	}, func() { entries = nil })
	if err != nil {
		return nil, false, err
	}
	more = len(entries) >= 2*f.set.page
	if !more {
		slices.SortFunc(entries, byKey)
		return entries, false, nil
	}
	last := slices.MaxFunc(entries[:len(entries)-f.set.page], byKey)
	slices.SortFunc(entries, byKey)
	i, _ := slices.BinarySearchFunc(entries, last, byKey)
	return entries[:i+1], true, nil
}

// errEnough ends a listing early, and well.
var errEnough = errors.New("enough")

// listing passes what is listed to take; again is called before each attempt.
func (f *FS) listing(ctx context.Context, prefix, after string, recursive bool, take func(entry) error, again func()) error {
	return f.try(ctx, "list", prefix, func(c call) error {
		again()
		done, err := f.listingOwn(c, prefix, after, recursive, take)
		if !done && err == nil {
			again()
			err = f.listingByLibrary(c, prefix, after, recursive, take)
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
}

// listingOwn is listing in the simple case, see getter. Neither done nor an error: ask
// the library.
func (f *FS) listingOwn(c call, prefix, after string, recursive bool, take func(entry) error) (done bool, err error) {
	q := url.Values{"list-type": {"2"}, "encoding-type": {"url"}, "max-keys": {strconv.Itoa(f.set.page)}, "prefix": {prefix}}
	if after != "" {
		q.Set("start-after", after)
	}
	if !recursive {
		q.Set("delimiter", "/")
	}
	for {
		at, who, ok := f.known(c.ctx)
		if !ok {
			return false, nil
		}
		body, err := f.getter.list(c, at, who, q)
		if body == nil && err == nil {
			f.getter.where.Store(nil)
			return false, nil
		}
		if err != nil {
			return false, err
		}
		a, err := readAnswer(body)
		if err != nil {
			return false, err
		}
		for _, o := range a.entries {
			if err := take(o); err != nil {
				return false, err
			}
		}
		if a.token == "" {
			return true, nil
		}
		q.Set("continuation-token", a.token)
	}
}

func (f *FS) listingByLibrary(c call, prefix, after string, recursive bool, take func(entry) error) error {
	owner := false
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	for o := range f.core.ListObjectsIter(ctx, f.bucket, minio.ListObjectsOptions{
		Prefix: prefix, StartAfter: after, Recursive: recursive, MaxKeys: f.set.page, FetchOwner: &owner,
	}) {
		if o.Err != nil {
			return o.Err
		}
		c.moved()
		if err := take(headed(o)); err != nil {
			return err
		}
	}
	return ctx.Err() // a listing that is cancelled just ends
}

// List yields the objects at or below prefix, in order. Long listings are made in
// parallel.
func (f *FS) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		name := clean(prefix)
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, f.failed("list", name, err))
			return
		}
		if reserved(name) {
			return
		}
		if name != "" && name == prefix {
			o, err := f.head(ctx, "list", name)
			if err != nil && !errors.Is(err, storage.ErrNotExist) {
				yield(storage.Info{}, err)
				return
			}
			if err == nil && !yield(infoOf(headed(o)), nil) {
				return
			}
		}
		for keys, err := range f.all(ctx, folderPrefix(name)) {
			if err != nil {
				yield(storage.Info{}, err)
				return
			}
			for _, o := range keys {
				ok, err := shown(o)
				if err != nil {
					yield(storage.Info{}, f.failed("list", name, err))
					return
				}
				if cerr := ctx.Err(); cerr != nil {
					yield(storage.Info{}, f.failed("list", name, cerr))
					return
				}
				if ok && !yield(infoOf(o), nil) {
					return
				}
			}
		}
	}
}

// ListFolder yields the objects and folders directly in a folder.
func (f *FS) ListFolder(ctx context.Context, folder string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		prefix, after := folderPrefix(clean(folder)), ""
		for more := !reserved(folder); more; {
			var entries []entry
			var err error
			entries, more, err = f.folderPage(ctx, prefix, after)
			if err != nil {
				yield(storage.Info{}, err)
				return
			}
			for _, o := range entries {
				after = o.Key
				if o.Key == prefix || reserved(o.Key) {
					continue // the folder's own stand-in
				}
				info := infoOf(o)
				if name, ok := strings.CutSuffix(o.Key, "/"); ok {
					info = storage.Info{Name: name, Dir: true}
				}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// head describes an object.
func (f *FS) head(ctx context.Context, op, name string) (o minio.ObjectInfo, err error) {
	if reserved(name) {
		return o, f.failed(op, name, &fault{is: storage.ErrNotExist, text: "the name is kept for attempts"})
	}
	err = f.try(ctx, op, name, func(c call) error {
		o, err = f.core.StatObject(c.ctx, f.bucket, name, minio.StatObjectOptions{})
		return f.why(c, name, err)
	})
	o.Key = name
	return o, err
}

// headed is what a listing would say of an object.
func headed(o minio.ObjectInfo) entry {
	return entry{Key: o.Key, Size: o.Size, LastModified: o.LastModified, ETag: o.ETag}
}

// why is the reason for which a HEAD was refused: its answer has no body, and so no
// code, so that an expired token looks like any bad request. A GET's has one.
func (f *FS) why(c call, name string, err error) error {
	r, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok || r.StatusCode < 300 || r.StatusCode >= 500 || r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusTooManyRequests {
		return err
	}
	var first minio.GetObjectOptions
	if first.SetRange(0, 0) != nil {
		return err
	}
	body, _, _, gerr := f.core.GetObject(c.ctx, f.bucket, name, first)
	if gerr == nil {
		body.Close()
		return err
	}
	if g, ok := errors.AsType[minio.ErrorResponse](gerr); ok && g.StatusCode == r.StatusCode && g.Code != "" {
		return gerr
	}
	return err
}

// Stat describes an object, or a folder that holds something.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	name = clean(name)
	if name != "" {
		o, err := f.head(ctx, "stat", name)
		if err == nil {
			return infoOf(headed(o)), nil
		}
		if !errors.Is(err, storage.ErrNotExist) {
			return storage.Info{}, err
		}
	}
	is, err := f.isFolder(ctx, name)
	if err != nil {
		return storage.Info{}, err
	}
	if !is && name != "" {
		return storage.Info{}, f.failed("stat", name, storage.ErrNotExist)
	}
	return storage.Info{Name: name, Dir: true}, nil
}

// isFolder reports whether a folder holds something, if only its own stand-in.
func (f *FS) isFolder(ctx context.Context, name string) (bool, error) {
	if reserved(name) {
		return false, nil
	}
	for keys, err := range f.all(ctx, folderPrefix(name)) {
		if err != nil {
			return false, err
		}
		for _, o := range keys {
			if !reserved(o.Key) {
				return true, nil
			}
		}
	}
	return false, nil
}
