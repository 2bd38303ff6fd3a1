package s3

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// attemptOf begins an attempt for an owner.
func attemptOf(t *testing.T, fs *FS, owner, name string) *object {
	t.Helper()
	o, err := fs.Create(storage.WithOwner(t.Context(), owner), name)
	if err != nil {
		t.Fatal(err)
	}
	return o.(*object)
}

// begin begins an upload that nobody notes.
func begin(t *testing.T, fs *FS, name string) string {
	t.Helper()
	id, err := fs.core.NewMultipartUpload(t.Context(), fs.bucket, name, minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func openUploads(t *testing.T, fs *FS, name string) []string {
	t.Helper()
	ids, err := fs.uploads(t.Context(), name, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestDeadWriters stops writers between any two steps, and sweeps.
func TestDeadWriters(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		fs := connect(t, s.Endpoint, s, quick())
		data := noise(1, 1000)
		cases := []struct {
			name string
			die  func(t *testing.T, name string)
		}{
			{"with an intent", func(t *testing.T, name string) { attemptOf(t, fs, "dead", name) }},
			{"before it noted its upload", func(t *testing.T, name string) {
				attemptOf(t, fs, "dead", name)
				begin(t, fs, name)
			}},
			{"twice before it noted its upload", func(t *testing.T, name string) {
				for range 2 {
					attemptOf(t, fs, "dead", name)
					begin(t, fs, name)
				}
			}},
			{"while it wrote", func(t *testing.T, name string) {
				if err := attemptOf(t, fs, "dead", name).begin(t.Context()); err != nil {
					t.Fatal(err)
				}
			}},
			{"with doubt about its upload", func(t *testing.T, name string) {
				o := attemptOf(t, fs, "dead", name)
				begin(t, fs, name) // its answer was lost
				o.doubt = true
				if _, err := o.Write(data); err != nil {
					t.Fatal(err)
				}
				if _, err := o.Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
			}},
			{"when it had sealed", func(t *testing.T, name string) { sealed(t, fs, "dead", name, data) }},
			{"and its sweeper too, having taken over", func(t *testing.T, name string) {
				o := attemptOf(t, fs, "dead", name)
				begin(t, fs, name)
				if s, err := fs.sweepMark(t.Context(), o.mark()); err != nil || !s.unnoted {
					t.Fatal(s, err)
				}
			}},
		}
		key := func(name string) string { return "out/" + strings.ReplaceAll(name, " ", "-") }
		older := map[string]string{} // uploads of somebody else, from before
		for _, c := range cases {
			older[c.name] = begin(t, fs, key(c.name))
		}
		laterSecond(t, fs)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				name := key(c.name)
				other := sealed(t, fs, "other", name, data)
				c.die(t, name)
				for range 2 {
					if err := fs.Sweep(t.Context(), "out", "dead"); err != nil {
						t.Fatal(err)
					}
				}
				if ids := openUploads(t, fs, name); len(ids) != 2 {
					t.Errorf("%d uploads are open, want the two of others", len(ids))
				}
				if err := fs.Publish(t.Context(), other); err != nil {
					t.Errorf("another's was swept: %v", err)
				}
				if got := content(t, fs, name, 1000); !bytes.Equal(got, data) {
					t.Error("what another published is not what it wrote")
				}
				if err := fs.abort(t.Context(), "abort", name, older[c.name]); err != nil {
					t.Fatal(err)
				}
				nothingLeft(t, fs, name)
			})
		}
	})
}

// laterSecond returns once the server's clock, which tells seconds, has moved on.
func laterSecond(t *testing.T, fs *FS) {
	t.Helper()
	var first time.Time
	for {
		if _, err := fs.writeMark(t.Context(), "test", "clock", mark{state: intent, id: newID()}, ""); err != nil {
			t.Fatal(err)
		}
		now, err := fs.begun(t.Context(), "test", "clock")
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() {
			first = now
		}
		if now.After(first) {
			return
		}
	}
}

// TestUncertain: of two who may have begun an upload nobody can tell whose it is.
func TestUncertain(t *testing.T) {
	s := services.S3(t)
	fs := connect(t, s.Endpoint, s, quick())
	attemptOf(t, fs, "dead", "out/o")
	live := attemptOf(t, fs, "live", "out/o")
	id := begin(t, fs, "out/o")
	if err := fs.Sweep(t.Context(), "out", "dead"); err != nil {
		t.Fatal(err)
	}
	if ids := openUploads(t, fs, "out/o"); len(ids) != 1 || ids[0] != id {
		t.Errorf("uploads %q are open, want %q", ids, id)
	}
	if err := live.begin(t.Context()); err != nil {
		t.Errorf("the other's attempt was swept: %v", err)
	}
}

// TestSweptWhileWriting: a writer finds out, and leaves nothing.
func TestSweptWhileWriting(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		set := quick()
		set.part = 5 << 20
		fs := connect(t, s.Endpoint, s, set)
		for _, written := range []int{0, 1, 5 << 20, 5<<20 + 1, 12 << 20} {
			o := attemptOf(t, fs, "dead", "out/o")
			if _, err := o.Write(noise(1, written)); err != nil {
				t.Fatal(err)
			}
			o.work.Wait() // the parts that are on their way
			if err := fs.Sweep(t.Context(), "", "dead"); err != nil {
				t.Fatal(err)
			}
			if _, err := o.Seal(t.Context()); !errors.Is(err, storage.ErrGone) {
				t.Errorf("seal of %d bytes: %v", written, err)
			}
			nothingLeft(t, fs, "out/o")
		}
	})
}

// TestPublisherDies between completing and removing the mark: the next one, or a
// sweeper, does the rest.
func TestPublisherDies(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		fs := connect(t, s.Endpoint, s, quick())
		data := noise(1, 1000)
		for i, finish := range []func(storage.Sealed) error{
			func(s storage.Sealed) error { return fs.Publish(t.Context(), s) },
			func(storage.Sealed) error { return fs.Sweep(t.Context(), "out", "job") },
			func(s storage.Sealed) error { return fs.Discard(t.Context(), s) },
		} {
			sl := sealed(t, fs, "job", "out/o", data)
			_, tok, err := fs.parseToken("test", sl)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fs.complete(t.Context(), "test", "out/o", tok); err != nil {
				t.Fatal(err)
			}
			if err := finish(sl); err != nil {
				t.Errorf("way %d: %v", i, err)
			}
			if got := content(t, fs, "out/o", 1000); !bytes.Equal(got, data) {
				t.Errorf("way %d: the object is not what was sealed", i)
			}
			nothingLeft(t, fs, "out/o")
			if err := fs.Remove(t.Context(), "out"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestPublishWaits: as long as the mark is there an upload that is gone may be on
// its way, and in the end it is given up.
func TestPublishWaits(t *testing.T) {
	s := services.S3(t)
	fs := connect(t, s.Endpoint, s, quick())
	sl := sealed(t, fs, "job", "out/o", noise(1, 1000))
	_, tok, err := fs.parseToken("test", sl)
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.abort(t.Context(), "test", "out/o", tok.upload); err != nil {
		t.Fatal(err)
	}
	if err := fs.Publish(t.Context(), sl); !errors.Is(err, storage.ErrGone) {
		t.Errorf("got %v", err)
	}
}

// TestPublishWithoutParts: a server that does not find the parts may be completing the
// upload for another, or have lost them.
func TestPublishWithoutParts(t *testing.T) {
	s := services.S3(t)
	for _, times := range []int{3, 1000} {
		p := newProxy(t, s.Endpoint, func(r request) action {
			if r.kind == "complete" && r.all <= times {
				return lostPart
			}
			return pass
		})
		fs := connect(t, p.server.URL, s, quick())
		data := noise(1, 1000)
		sl := sealed(t, fs, "job", fmt.Sprintf("out/o-%d", times), data)
		switch err := fs.Publish(t.Context(), sl); {
		case times < publishRounds:
			if got := content(t, fs, sl.Name, 1000); err != nil || !bytes.Equal(got, data) {
				t.Errorf("after %d refusals: %v, or the object is not what was sealed", times, err)
			}
		case !errors.Is(err, storage.ErrGone) || !strings.Contains(err.Error(), "lost by the server"):
			t.Errorf("got %v", err)
		default:
			if err := fs.Discard(t.Context(), sl); err != nil {
				t.Error(err)
			}
		}
		nothingLeft(t, fs, sl.Name)
	}
}

func TestForgedTokens(t *testing.T) {
	fs := connect(t, "http://127.0.0.1:1", services.S3Server{AccessKey: "a", SecretKey: "b", Region: "r"}, quick())
	id := attempt + "0123456789abcdef"
	for _, s := range []storage.Sealed{
		{Name: "o"}, {Name: "o", Token: "x"}, {Name: "o", Token: ".divisi " + id + " up -"}, {Name: "o", Token: "divisi " + id + " up - etag"},
		{Name: "o", Token: ".divisi-a%2F..%2Fx " + id + " up - etag"}, {Name: "o", Token: ".divisi ../../o up - etag"}, {Name: "o", Token: ".divisi " + id + "  - etag"},
		{Name: "o", Token: ".divisi " + id + " up ! etag"}, {Name: "o", Token: ".divisi " + id + " up - "}, {Name: "o", Token: ".divisi " + id + " %zz - etag"},
		{Name: "", Token: ".divisi " + id + " up - etag"}, {Name: ".divisi/o", Token: ".divisi " + id + " up - etag"},
	} {
		for what, err := range map[string]error{"Publish": fs.Publish(t.Context(), s), "Discard": fs.Discard(t.Context(), s)} {
			if err == nil || !strings.Contains(err.Error(), "is no sealed attempt") {
				t.Errorf("%s of %+v: %v", what, s, err)
			}
		}
	}
	want := token{folder: ".divisi-a%20b", id: id, upload: "up load/1+2=", doubt: true, parts: []minio.CompletePart{{PartNumber: 1, ETag: "a b"}, {PartNumber: 2, ETag: "c"}}}
	name, got, err := fs.parseToken("test", storage.Sealed{Name: "o", Token: want.String()})
	if err != nil || name != "o" || got.String() != want.String() || got.upload != want.upload || len(got.parts) != 2 || !got.doubt {
		t.Errorf("parsed %+v, %v; want %+v", got, err, want)
	}
}
