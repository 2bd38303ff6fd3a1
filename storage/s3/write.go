package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/divisi-data/divisi/internal/crc32c"
	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

const (
	partsMax = 10_000           // of an upload, S3's limit
	tidying  = 30 * time.Second // for what is done after a context has ended
	attempts = "Divisi-Attempt" // user metadata: which attempt an object is
)

// object is an attempt on its way. Its fields are its writer's; the uploads of
// parts write only what mu guards.
type object struct {
	fs     *FS
	name   string
	folder string // of its owner's marks
	id     string
	etag   string          // of the mark
	ctx    context.Context // of Create, until Seal or Abort
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // uploads of parts

	upload string // its id, once there is one
	doubt  bool   // a second upload may have been begun
	buf    []byte
	sent   int // parts
	size   int64
	crc    uint32
	sealed *storage.Sealed
	ended  bool

	mu    sync.Mutex
	parts []minio.CompletePart // those that have arrived, in no order
	err   error                // of the first part that has not
	stray bool                 // a request for a part may have been carried out, or be so yet, and not been answered
}

// Create begins an attempt, with its mark.
func (f *FS) Create(ctx context.Context, name string) (storage.Object, error) {
	name = clean(name)
	if err := f.writable(name); err != nil {
		return nil, f.failed("create", name, err)
	}
	o := &object{fs: f, name: name, folder: storage.OwnerFolder(storage.Owner(ctx)), id: newID()}
	var err error
	if o.etag, err = f.writeMark(ctx, "create", o.mark(), mark{state: intent, id: o.id}, ""); err != nil {
		if ctx.Err() != nil { // it may have been written
			ctx, cancel := tidy(ctx)
			defer cancel()
			err = o.about("create", errors.Join(err, f.remove(ctx, "create", o.mark())))
		}
		return nil, o.about("create", err)
	}
	o.ctx, o.cancel = context.WithCancelCause(ctx)
	return o, nil
}

func (o *object) mark() string { return o.fs.markKey(o.folder, o.name, o.id) }

// about makes an error that is about a mark one about the object.
func (o *object) about(op string, err error) error {
	if e, ok := errors.AsType[*storage.Error](err); ok && e.Path != scheme+o.fs.bucket+"/"+o.name {
		return o.fs.failed(op, o.name, fmt.Errorf("its mark: %w", err))
	}
	return err
}

// tidy is a context for what has to be done although ctx may have ended.
func tidy(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), tidying)
}

func (o *object) Write(p []byte) (int, error) {
	if o.ended {
		return 0, o.fs.failed("write", o.name, os.ErrClosed)
	}
	n := 0
	for n < len(p) {
		room := o.fs.partSize(o.sent) - len(o.buf)
		if room == 0 {
			// A full part is kept until there is more: Seal always has one to send,
			// and the server's answer to it tells whether the upload still is.
			if err := o.send(o.ctx); err != nil {
				return n, err
			}
			continue
		}
		k := min(room, len(p)-n)
		o.grow(k)
		o.buf = append(o.buf, p[n:n+k]...)
		n += k
	}
	o.size += int64(n)
	o.crc = crc32c.Update(o.crc, p)
	return n, nil
}

// partSize is the size of the n-th part, from zero: 8 MiB for the first thousand,
// then twice as much for each thousand, so that ten thousand parts are enough for
// any object.
func (f *FS) partSize(n int) int { return f.set.part << min(n/1000, 6) }

// grow makes room in the buffer, which small objects keep small and no object lets
// grow beyond a part.
func (o *object) grow(n int) {
	need := len(o.buf) + n
	if need > cap(o.buf) {
		size := min(max(need, 2*cap(o.buf), 64<<10), max(o.fs.partSize(o.sent), need))
		o.buf = slices.Grow(o.buf, size-len(o.buf))
	}
}

// send begins to upload the buffer as the next part. It waits while too many bytes
// are on their way.
func (o *object) send(ctx context.Context) error {
	if err := o.failure(); err != nil {
		return err
	}
	if o.sent == partsMax {
		return o.fs.failed("write", o.name, fmt.Errorf("the object has %d bytes in %d parts and cannot grow: write more, smaller objects", o.size, o.sent))
	}
	if err := o.begin(ctx); err != nil {
		return cmp.Or(o.failure(), err)
	}
	weight := min(max(int64(len(o.buf)), 1), o.fs.set.uploads)
	if err := o.fs.inFly.Acquire(ctx, weight); err != nil {
		return cmp.Or(o.failure(), o.fs.failed("write", o.name, err))
	}
	data := o.buf
	o.sent++
	number := o.sent
	o.buf = make([]byte, 0, min(cap(data), o.fs.partSize(o.sent)))
	o.work.Go(func() {
		defer o.fs.inFly.Release(weight)
		part, stray, err := o.fs.sendPart(o.ctx, o.name, o.upload, number, data)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.stray = o.stray || stray
		if err == nil {
			o.parts = append(o.parts, part)
		} else if o.err == nil {
			o.err = err
			o.cancel(err)
		}
	})
	return nil
}

func (o *object) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// sendPart uploads one part. stray: a request for it may have been carried out, or be so
// yet, and was not answered.
func (f *FS) sendPart(ctx context.Context, name, uploadID string, number int, data []byte) (part minio.CompletePart, stray bool, err error) {
	md5, sha256 := f.sums(data)
	err = f.try(ctx, "write", name, func(c call) error {
		p, err := f.core.PutObjectPart(c.ctx, f.bucket, name, uploadID, number, c.body(data), int64(len(data)),
			minio.PutObjectPartOptions{Md5Base64: md5, Sha256Hex: sha256, DisableContentSha256: true})
		if code(err) == noSuchUpload {
			return &fault{is: storage.ErrGone, code: noSuchUpload, text: sweptWhile}
		}
		stray = stray || err != nil && !refused(err)
		part = minio.CompletePart{PartNumber: number, ETag: p.ETag}
		return err
	})
	return part, stray, err
}

// begin begins the upload and notes it in the mark, once.
func (o *object) begin(ctx context.Context) error {
	if o.upload != "" {
		return nil
	}
	f := o.fs
	var id string
	lost := false // an answer, of a request that may have been carried out
	err := f.try(ctx, "write", o.name, func(c call) (err error) {
		id, err = f.core.NewMultipartUpload(c.ctx, f.bucket, o.name, minio.PutObjectOptions{UserMetadata: map[string]string{attempts: o.id}})
		if err == nil && id == "" {
			err = errors.New("the server gave no id for the upload")
		}
		if err != nil && !refused(err) {
			lost = true
		}
		return err
	})
	o.doubt = o.doubt || lost
	if err != nil {
		return err
	}
	m := mark{state: upload, id: o.id, upload: id}
	if o.doubt {
		since, err := f.begun(ctx, "write", o.mark())
		if err != nil {
			return o.lose(ctx, id, o.about("write", err))
		}
		m.since = since.Unix()
	}
	if _, err := f.writeMark(ctx, "write", o.mark(), m, o.etag); err != nil {
		return o.lose(ctx, id, o.about("write", err))
	}
	o.upload = id
	return nil
}

// refused reports whether a server has surely not carried out a request.
func refused(err error) bool {
	r, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && (r.StatusCode < 500 || r.StatusCode == 503) && r.StatusCode >= 300
}

// lose aborts an upload that could not be noted.
func (o *object) lose(ctx context.Context, id string, err error) error {
	ctx, cancel := tidy(ctx)
	defer cancel()
	return errors.Join(err, o.fs.abort(ctx, "write", o.name, id))
}

// Seal uploads the rest.
func (o *object) Seal(ctx context.Context) (storage.Sealed, error) {
	if o.sealed != nil {
		return *o.sealed, nil
	}
	if o.ended {
		return storage.Sealed{}, o.fs.failed("seal", o.name, os.ErrClosed)
	}
	err := ctx.Err()
	if err == nil {
		stop := context.AfterFunc(ctx, func() { o.cancel(context.Cause(ctx)) })
		if err = o.send(ctx); err == nil {
			o.work.Wait()
			err = o.failure()
		}
		stop()
		if cerr := ctx.Err(); err != nil && cerr != nil {
			err = cerr
		}
	}
	if err != nil {
		ctx, cancel := tidy(ctx)
		defer cancel()
		if aerr := o.Abort(ctx); aerr != nil {
			err = errors.Join(err, aerr)
		}
		if _, ok := err.(*storage.Error); ok {
			return storage.Sealed{}, err
		}
		return storage.Sealed{}, o.fs.failed("seal", o.name, err)
	}
	o.ended = true
	o.cancel(nil)
	slices.SortFunc(o.parts, func(a, b minio.CompletePart) int { return a.PartNumber - b.PartNumber })
	t := token{folder: o.folder, id: o.id, upload: o.upload, doubt: o.doubt, parts: o.parts}
	o.sealed = &storage.Sealed{Name: o.name, Token: t.String(), Size: o.size, CRC32: o.crc}
	o.buf = nil
	return *o.sealed, nil
}

// Abort aborts the upload and removes the mark, unless there may be another upload
// that only a sweep finds.
func (o *object) Abort(ctx context.Context) error {
	if o.ended {
		return nil
	}
	o.ended = true
	o.cancel(context.Canceled)
	o.work.Wait()
	o.buf = nil
	if o.upload != "" {
		err := o.fs.abort(ctx, "abort", o.name, o.upload)
		if err == nil && o.stray {
			err = o.fs.afterwards(ctx, "abort", o.name, func() error { return o.fs.abortAgain(ctx, "abort", o.name, o.upload) })
		}
		if err != nil {
			return err
		}
	}
	if o.doubt {
		return nil
	}
	return o.about("abort", o.fs.remove(ctx, "abort", o.mark()))
}
