package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// token is what a Sealed's Token says: words between blanks, each escaped as in a
// query.
type token struct {
	folder string // of the owner's marks
	id     string // the attempt's
	upload string // its upload's id
	doubt  bool   // a second upload may be, and its mark stays for the sweeper
	parts  []minio.CompletePart
}

func (t token) String() string {
	doubt := "-"
	if t.doubt {
		doubt = "?"
	}
	words := []string{url.QueryEscape(t.folder), t.id, url.QueryEscape(t.upload), doubt}
	for _, p := range t.parts {
		words = append(words, url.QueryEscape(p.ETag))
	}
	return strings.Join(words, " ")
}

// parseToken checks a Sealed that may come from anywhere.
func (f *FS) parseToken(op string, s storage.Sealed) (name string, t token, err error) {
	name = clean(s.Name)
	words := strings.Split(s.Token, " ")
	bad := f.failed(op, name, fmt.Errorf("%q is no sealed attempt", s.Token[:min(len(s.Token), 100)]))
	if f.writable(name) != nil || len(words) < 5 || len(words) > 4+partsMax || words[3] != "-" && words[3] != "?" {
		return "", t, bad
	}
	var errs [2]error
	t = token{id: words[1], doubt: words[3] == "?"}
	t.folder, errs[0] = url.QueryUnescape(words[0])
	t.upload, errs[1] = url.QueryUnescape(words[2])
	if errors.Join(errs[:]...) != nil || !storage.IsOwnerFolder(t.folder) || strings.Contains(t.folder, "/") || !isID(t.id) || t.upload == "" {
		return "", t, bad
	}
	for i, w := range words[4:] {
		etag, err := url.QueryUnescape(w)
		if err != nil || etag == "" {
			return "", t, bad
		}
		t.parts = append(t.parts, minio.CompletePart{PartNumber: i + 1, ETag: etag})
	}
	return name, t, nil
}

// publishRounds is how often Publish looks whether another's Publish of the same
// attempt, which seems to be under way, has come to its end: for about a minute.
const publishRounds = 64

// Publish completes the upload. What the name holds afterwards decides whether it
// was published, now or before: it bears this attempt's id and size, or another's.
//
// While one process completes an upload, another may be told that it is completed
// or that it is gone. But the mark is removed only after that, so as long as it is
// there the last word is not spoken.
func (f *FS) Publish(ctx context.Context, s storage.Sealed) error {
	const op = "publish"
	name, t, err := f.parseToken(op, s)
	if err != nil {
		return err
	}
	pause := f.set.pause
	for round := 1; ; round++ {
		completed, err := f.complete(ctx, op, name, t)
		if err != nil {
			return err
		}
		what, err := f.published(ctx, op, s, name, t, completed)
		if what == "" {
			if err == nil {
				err = f.unmark(ctx, op, name, t)
			}
			return err
		}
		m, _, err := f.readMark(ctx, f.markKey(t.folder, name, t.id))
		marked := err == nil && m.upload == t.upload
		if err != nil && !errors.Is(err, storage.ErrNotExist) {
			return err
		}
		if !marked { // whoever removed it has finished
			what, err = f.published(ctx, op, s, name, t, false)
			if what == "" {
				return err
			}
		}
		if !marked || round == publishRounds {
			is := storage.ErrGone
			if marked && completed {
				is = storage.ErrTransient
			}
			return f.failed(op, name, fmt.Errorf("%w: %s was discarded, swept, replaced or lost by the server, and the name holds %s", is, t.id, what))
		}
		if err := wait(ctx, pause); err != nil {
			return f.failed(op, name, err)
		}
		pause = min(2*pause, f.set.pauseMax, time.Second)
	}
}

// invalidPart is what MinIO says of the parts while another request completes the upload:
// it forgets them first. Should who asked for that go away in between, it says so for ever.
const invalidPart = "InvalidPart"

// complete completes the upload, or reports that there is none, or none of its parts.
func (f *FS) complete(ctx context.Context, op, name string, t token) (completed bool, err error) {
	// Servers put large objects together while the client waits.
	err = f.tryFor(ctx, 10*f.set.idle, op, name, func(c call) error {
		_, err := f.core.CompleteMultipartUpload(c.ctx, f.bucket, name, t.upload, t.parts, minio.PutObjectOptions{})
		return err
	})
	if c := code(err); c == noSuchUpload || c == invalidPart {
		return false, nil
	}
	return err == nil, err
}

// published says what the name holds in place of the attempt, or nothing if it is
// the attempt. Who may write and not read has to believe that it was completed.
func (f *FS) published(ctx context.Context, op string, s storage.Sealed, name string, t token, completed bool) (what string, err error) {
	o, err := f.head(ctx, op, name)
	switch {
	case completed && errors.Is(err, storage.ErrPermission):
		return "", nil
	case errors.Is(err, storage.ErrNotExist):
		return "nothing", nil
	case err != nil:
		return "", err
	case o.UserMetadata[attempts] != t.id:
		return "something else", nil
	case o.Size != s.Size:
		return "", f.failed(op, name, fmt.Errorf("%s is published with %d bytes, and %d were sealed", t.id, o.Size, s.Size))
	}
	return "", nil
}

// wait waits, or says why not.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Discard aborts the upload; what is published stays.
func (f *FS) Discard(ctx context.Context, s storage.Sealed) error {
	const op = "discard"
	name, t, err := f.parseToken(op, s)
	if err != nil {
		return err
	}
	if err := f.abort(ctx, op, name, t.upload); err != nil {
		return err
	}
	return f.unmark(ctx, op, name, t)
}

// unmark removes the mark of an attempt that has ended.
func (f *FS) unmark(ctx context.Context, op, name string, t token) error {
	if t.doubt {
		return nil
	}
	return f.remove(ctx, op, f.markKey(t.folder, name, t.id))
}

// CreateIfAbsent writes a small object under a free name.
func (f *FS) CreateIfAbsent(ctx context.Context, name string, data []byte) error {
	const op = "create if absent"
	name = clean(name)
	if err := f.writable(name); err != nil {
		return f.failed(op, name, err)
	}
	id := newID()
	return f.try(ctx, op, name, func(c call) error {
		opts := minio.PutObjectOptions{UserMetadata: map[string]string{attempts: id}}
		opts.SetMatchETagExcept("*")
		_, err := f.put(c, name, data, opts)
		if code(err) != minio.PreconditionFailed {
			return err
		}
		if c.n > 1 {
			// An earlier try whose answer was lost may have been the one.
			o, err := f.head(c.ctx, op, name)
			if err == nil && o.UserMetadata[attempts] == id {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return &fault{is: storage.ErrExist, code: minio.PreconditionFailed, text: "somebody else created it"}
	})
}
