package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// A mark is a small object that tells of one attempt:
//
//	.divisi-job7/out/part-0/attempt-4f0c22d1a96be073
//	└ the owner  └ the key  └ the attempt
//
// It is written before the attempt's upload is begun and removed after the upload
// has been completed or aborted, so there is no upload without a mark. Its content
// goes one way:
//
//	intent   the upload may be begun, or not yet
//	upload   it has this id
//	swept    a sweeper took over before there was an id: there shall be no upload
//
// Each step is a conditional write on the one before (If-Match), so a writer that
// was swept cannot note its upload any more, and aborts it.
//
// An upload whose writer died between beginning and noting it has no id in a mark,
// and a list of uploads shows no owner. The sweeper takes for it what was begun for
// the same key since the mark was written and is in no mark of anybody's; unless
// somebody else's mark of the key says intent too. Then nobody can tell, and the
// upload is left to the bucket's rule for old ones (docs/format/attempts.md). The
// same goes for the upload of a request whose answer was lost: its mark has doubt.
type mark struct {
	state  string // intent, upload, swept
	id     string // the attempt's
	upload string // its upload's id
	since  int64  // Unix seconds of the server's clock: when the intent was written; 0 for intent itself, and where there is no doubt
}

const (
	intent = "intent"
	upload = "upload"
	swept  = "swept"
)

func (m mark) text() []byte {
	return fmt.Appendf(nil, "%s %s %d %s\n", m.state, m.id, m.since, m.upload)
}

func parseMark(text []byte) (m mark, err error) {
	parts := strings.Split(strings.TrimSuffix(string(text), "\n"), " ")
	if len(parts) != 4 || !isID(parts[1]) || parts[0] != intent && parts[0] != upload && parts[0] != swept || (parts[0] == upload) != (parts[3] != "") {
		return m, fmt.Errorf("%q is no mark of an attempt", text[:min(len(text), 100)])
	}
	m = mark{state: parts[0], id: parts[1], upload: parts[3]}
	m.since, err = strconv.ParseInt(parts[2], 10, 64)
	return m, err
}

// writeMark writes a mark, in the place of the one with the given ETag if there is
// to be one. What fails with ErrGone has found another or none.
func (f *FS) writeMark(ctx context.Context, op, key string, m mark, replaces string) (etag string, err error) {
	text := m.text()
	err = f.try(ctx, op, key, func(c call) error {
		opts := minio.PutObjectOptions{ContentType: "text/plain"}
		if replaces != "" {
			opts.SetMatchETag(replaces)
		}
		info, err := f.put(c, key, text, opts)
		etag = info.ETag
		switch {
		case err == nil || replaces == "":
			return err
		case code(err) != minio.PreconditionFailed && code(err) != minio.NoSuchKey:
			return err
		case c.n > 1: // is it our own from before?
			if now, found, rerr := f.readMark(ctx, key); rerr == nil && bytes.Equal(now.text(), text) {
				etag = found.ETag
				return nil
			}
		}
		return &fault{is: storage.ErrGone, code: code(err), text: sweptWhile}
	})
	return etag, err
}

// put sends a small object, checked on arrival.
func (f *FS) put(c call, key string, data []byte, opts minio.PutObjectOptions) (minio.UploadInfo, error) {
	md5, sha256 := f.sums(data)
	opts.DisableContentSha256 = true // it is given
	return f.core.PutObject(c.ctx, f.bucket, key, c.body(data), int64(len(data)), md5, sha256, opts)
}

// sums are what the server checks data with on arrival. Where nothing else protects
// the connection, the signature covers the data too.
func (f *FS) sums(data []byte) (md5Base64, sha256Hex string) {
	m := md5.Sum(data)
	if f.core.EndpointURL().Scheme != "https" {
		s := sha256.Sum256(data)
		sha256Hex = hex.EncodeToString(s[:])
	}
	return base64.StdEncoding.EncodeToString(m[:]), sha256Hex
}

// readMark reads a mark; what it says of itself comes with it.
func (f *FS) readMark(ctx context.Context, key string) (m mark, o minio.ObjectInfo, err error) {
	err = f.try(ctx, "read mark", key, func(c call) error {
		body, info, _, err := f.core.GetObject(c.ctx, f.bucket, key, minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer body.Close()
		text, err := io.ReadAll(io.LimitReader(body, keyMax))
		if err != nil {
			return err
		}
		o = info
		if m, err = parseMark(text); err != nil {
			return &fault{text: err.Error()}
		}
		return nil
	})
	return m, o, err
}

// begun tells when a mark was written, by the server's clock to the second. What fails
// with ErrGone has found none.
func (f *FS) begun(ctx context.Context, op, key string) (time.Time, error) {
	_, o, err := f.readMark(ctx, key)
	if errors.Is(err, storage.ErrNotExist) {
		err = f.failed(op, key, &fault{is: storage.ErrGone, code: code(err), text: sweptWhile})
	}
	return o.LastModified, err
}

// sweptWhile is why a writer's mark is not what it wrote.
const sweptWhile = "the attempt was removed or swept while it was written"

// remove deletes one key, whether it is there or not.
func (f *FS) remove(ctx context.Context, op, key string) error {
	return f.try(ctx, op, key, func(c call) error {
		err := f.core.RemoveObject(c.ctx, f.bucket, key, minio.RemoveObjectOptions{})
		if code(err) == minio.NoSuchKey {
			return nil
		}
		return err
	})
}

// body reads data and says that bytes move.
func (c call) body(data []byte) io.Reader {
	return &movingReader{r: bytes.NewReader(data), moved: c.moved}
}

type movingReader struct {
	r     *bytes.Reader
	moved func()
}

func (r *movingReader) Read(p []byte) (int, error) {
	r.moved()
	return r.r.Read(p)
}

func (r *movingReader) Seek(off int64, whence int) (int64, error) { return r.r.Seek(off, whence) }
