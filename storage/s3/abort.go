package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// An upload that is aborted while a part is on its way may be there again when the
// part has arrived: S3 says that it may have to be aborted several times, and to look
// with a list of its parts. So an abort is repeated until the list says that there is no
// such upload; and where a part's answer was never seen, as with every dead writer, it
// is looked again after the pauses of settings.late.

const noSuchUpload = "NoSuchUpload"

// abortRounds is how often an upload is aborted that is there all the same.
const abortRounds = 10

// abort ends an upload, whether there is one or not, and sees that it has ended.
func (f *FS) abort(ctx context.Context, op, key, uploadID string) error {
	pause := f.set.pause
	for range abortRounds {
		err := f.try(ctx, op, key, func(c call) error {
			err := f.core.AbortMultipartUpload(c.ctx, f.bucket, key, uploadID)
			if code(err) == noSuchUpload {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		open, err := f.isOpen(ctx, op, key, uploadID)
		if !open || err != nil {
			return err
		}
		if err := wait(ctx, pause); err != nil {
			return f.failed(op, key, err)
		}
		pause = min(2*pause, f.set.pauseMax)
	}
	return f.failed(op, key, fmt.Errorf("%w: the upload %s is there although it was aborted %d times", storage.ErrTransient, uploadID, abortRounds))
}

// abortAgain ends an upload that has come back.
func (f *FS) abortAgain(ctx context.Context, op, key, uploadID string) error {
	open, err := f.isOpen(ctx, op, key, uploadID)
	if open {
		err = f.abort(ctx, op, key, uploadID)
	}
	return err
}

// isOpen reports whether there is an upload. Who may not list parts has to believe that
// there is none.
func (f *FS) isOpen(ctx context.Context, op, key, uploadID string) (open bool, err error) {
	err = f.try(ctx, op, key, func(c call) error {
		_, err := f.core.ListObjectParts(c.ctx, f.bucket, key, uploadID, 0, 1)
		return err
	})
	if code(err) == noSuchUpload || code(err) == minio.NoSuchKey || errors.Is(err, storage.ErrPermission) {
		return false, nil
	}
	return err == nil, err
}

// afterwards calls again after each of the pauses in which parts that were on their
// way may still arrive.
func (f *FS) afterwards(ctx context.Context, op, key string, again func() error) error {
	for _, pause := range f.set.late {
		if err := wait(ctx, pause); err != nil {
			return f.failed(op, key, err)
		}
		if err := again(); err != nil {
			return err
		}
	}
	return nil
}
