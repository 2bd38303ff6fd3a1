package hdfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/divisi-data/divisi/storage"
)

// noise is n bytes that no compression or offset error leaves equal.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// attemptOf writes data as one attempt, in pieces, and seals it.
func attemptOf(ctx context.Context, fs *FS, name string, data []byte) (storage.Sealed, error) {
	o, err := fs.Create(ctx, name)
	if err != nil {
		return storage.Sealed{}, err
	}
	if err := writeAll(o, data); err != nil {
		return storage.Sealed{}, errors.Join(err, o.Abort(ctx))
	}
	return o.Seal(ctx)
}

func writeAll(w io.Writer, data []byte) error {
	for len(data) > 0 {
		n, err := w.Write(data[:min(len(data), 100_000)])
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// put writes and publishes, or ends the test.
func put(t *testing.T, fs *FS, name string, data []byte) {
	t.Helper()
	s, err := attemptOf(t.Context(), fs, name, data)
	if err == nil {
		err = fs.Publish(t.Context(), s)
	}
	if err != nil {
		t.Fatalf("write of %s: %v", name, err)
	}
}

// holds says how an object differs from what it should hold.
func holds(ctx context.Context, fs *FS, name string, want []byte) error {
	f, err := fs.Open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	return rest(f, 0, want)
}

// rest says how a file differs from what it should hold, from an offset on.
func rest(f storage.File, off int64, want []byte) error {
	if f.Size() != int64(len(want)) {
		return fmt.Errorf("size %d, want %d", f.Size(), len(want))
	}
	got, err := io.ReadAll(io.NewSectionReader(f, off, f.Size()+10))
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", len(got), err)
	}
	if !bytes.Equal(got, want[off:]) {
		return fmt.Errorf("from %d on: %d bytes that are not those written", off, len(got))
	}
	return nil
}

// is demands a *storage.Error about target.
func is(t *testing.T, what string, err, target error) {
	t.Helper()
	e, ok := errors.AsType[*storage.Error](err)
	if !errors.Is(err, target) || !ok || e.Op == "" || e.Path == "" {
		t.Errorf("%s: got error %v, want a storage.Error about %v", what, err, target)
	}
}
