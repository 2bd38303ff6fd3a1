package s3

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// slowBody is read up to its last bytes, which come when release is closed.
type slowBody struct {
	*bytes.Reader
	last    int           // bytes that are held back
	arrived chan struct{} // closed when all but those have been read
	release chan struct{}
	once    sync.Once
}

func (b *slowBody) Read(p []byte) (int, error) {
	n := b.Len() - b.last
	if n <= 0 {
		b.once.Do(func() { close(b.arrived) })
		<-b.release
		n = b.Len()
	}
	return b.Reader.Read(p[:min(len(p), max(n, 1))])
}

// latePart uploads a part of which most has been taken by the server. The returned
// function lets the rest go, and returns when the server has answered.
func latePart(t *testing.T, fs *FS, name, upload string) (finish func()) {
	t.Helper()
	// More than the buffers between here and there hold, so that the server has begun.
	data := noise(9, 48<<20)
	md5, sha256 := fs.sums(data)
	b := &slowBody{Reader: bytes.NewReader(data), last: 1, arrived: make(chan struct{}), release: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Whether it is taken is the server's affair.
		_, _ = fs.core.PutObjectPart(context.WithoutCancel(t.Context()), fs.bucket, name, upload, 7, io.Reader(b), int64(len(data)),
			minio.PutObjectPartOptions{Md5Base64: md5, Sha256Hex: sha256, DisableContentSha256: true})
	}()
	<-b.arrived
	return sync.OnceFunc(func() { close(b.release); <-ended })
}

// TestPartArrivesLate: a part was on its way when its upload was aborted, and arrives
// before or after it was looked whether the upload has ended. versitygw makes the
// upload anew for it.
func TestPartArrivesLate(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		for _, c := range []struct {
			name string
			at   int // which list of parts finds it
			end  func(fs *FS, o *object) error
		}{
			{"sweep, before the first look", 1, func(fs *FS, _ *object) error { return fs.Sweep(t.Context(), "out", "dead") }},
			{"sweep, before the second look", 2, func(fs *FS, _ *object) error { return fs.Sweep(t.Context(), "out", "dead") }},
			{"remove, before the third look", 3, func(fs *FS, _ *object) error { return fs.Remove(t.Context(), "out") }},
			{"abort, before the first look", 1, func(_ *FS, o *object) error { return o.Abort(t.Context()) }},
			{"abort, before the second look", 2, func(_ *FS, o *object) error { o.stray = true; return o.Abort(t.Context()) }},
			{"discard", 1, func(fs *FS, o *object) error {
				sl, err := o.Seal(t.Context())
				if err != nil {
					return err
				}
				return fs.Discard(t.Context(), sl)
			}},
		} {
			t.Run(c.name, func(t *testing.T) {
				var finish func()
				looks := 0
				p := newProxy(t, s.Endpoint, func(r request) action {
					if r.kind == "parts" {
						if looks++; looks == c.at {
							finish()
						}
					}
					return pass
				})
				direct, fs := connect(t, s.Endpoint, s, quick()), connect(t, p.server.URL, s, quick())
				made, err := fs.Create(storage.WithOwner(t.Context(), "dead"), "out/o")
				if err != nil {
					t.Fatal(err)
				}
				o := made.(*object)
				if err := o.begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				finish = latePart(t, direct, "out/o", o.upload)
				defer finish()
				if err := c.end(fs, o); err != nil {
					t.Fatal(err)
				}
				if n := p.count("abort"); s.Name == "versitygw" && n != 2 {
					t.Errorf("the upload was aborted %d times: did it not come back?", n)
				}
				if looks < c.at {
					t.Errorf("it was looked %d times", looks)
				}
				nothingLeft(t, direct, "out/o")
			})
		}
	})
}
