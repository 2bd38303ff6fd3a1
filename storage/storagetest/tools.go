package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/divisi-data/divisi/storage"
)

// sealed writes data as one attempt and seals it.
func sealed(ctx context.Context, fs storage.Filesystem, name string, data []byte) (storage.Sealed, error) {
	o, err := fs.Create(ctx, name)
	if err != nil {
		return storage.Sealed{}, fmt.Errorf("Create: %w", err)
	}
	if n, err := o.Write(data); err != nil || n != len(data) {
		return storage.Sealed{}, fmt.Errorf("Write of %d bytes: %d, %v", len(data), n, errors.Join(err, o.Abort(ctx)))
	}
	s, err := o.Seal(ctx)
	if err != nil {
		return s, fmt.Errorf("Seal: %w", err)
	}
	return s, nil
}

// put writes and publishes.
func put(ctx context.Context, fs storage.Filesystem, name string, data []byte) (storage.Sealed, error) {
	s, err := sealed(ctx, fs, name, data)
	if err != nil {
		return s, err
	}
	if err := fs.Publish(ctx, s); err != nil {
		return s, fmt.Errorf("Publish: %w", err)
	}
	return s, nil
}

// holds says how an object differs from what it should hold.
func holds(ctx context.Context, fs storage.Filesystem, name string, want []byte) error {
	f, err := fs.Open(ctx, name)
	if err != nil {
		return fmt.Errorf("Open: %w", err)
	}
	defer f.Close()
	if f.Size() != int64(len(want)) {
		return fmt.Errorf("%s has size %d, want %d", name, f.Size(), len(want))
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()+10))
	if err != nil {
		return fmt.Errorf("read of %s: %w", name, err)
	}
	return equal(name, got, want)
}

func equal(name string, got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	return fmt.Errorf("%s: got %d bytes, want %d, first different at %d", name, len(got), len(want), i)
}

// names lists the names below a prefix.
func names(ctx context.Context, fs storage.Filesystem, prefix string) ([]string, error) {
	var got []string
	for info, err := range fs.List(ctx, prefix) {
		if err != nil {
			return got, fmt.Errorf("List(%q): %w", prefix, err)
		}
		if info.Dir {
			return got, fmt.Errorf("List(%q) yields the folder %q", prefix, info.Name)
		}
		got = append(got, info.Name)
	}
	return got, nil
}

// lists says how a listing differs from what it should be.
func lists(ctx context.Context, fs storage.Filesystem, prefix string, want ...string) error {
	got, err := names(ctx, fs, prefix)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("List(%q) = %q, want %q", prefix, got, want)
	}
	return nil
}

// missing says how fs fails to say that a name is not there.
func missing(ctx context.Context, fs storage.Filesystem, name string) error {
	f, err := fs.Open(ctx, name)
	if err == nil {
		f.Close()
		return fmt.Errorf("Open(%q) succeeds", name)
	}
	if err := is("Open of what is not there", err, storage.ErrNotExist); err != nil {
		return err
	}
	if s, ok := storage.As[storage.Stater](fs); ok {
		_, err := s.Stat(ctx, name)
		if err := is("Stat of what is not there", err, storage.ErrNotExist); err != nil {
			return err
		}
	}
	return lists(ctx, fs, name)
}

// is says how err is not a *storage.Error about target.
func is(what string, err, target error) error {
	if !errors.Is(err, target) {
		return fmt.Errorf("%s: got error %v, want %v", what, err, target)
	}
	e, ok := errors.AsType[*storage.Error](err)
	if !ok {
		return fmt.Errorf("%s: error %v is no *storage.Error", what, err)
	}
	if e.Op == "" || e.Path == "" {
		return fmt.Errorf("%s: error names operation %q and path %q", what, e.Op, e.Path)
	}
	return nil
}

func crc(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

// noise is n bytes that no compression or offset error leaves equal.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, n)
	rand.NewChaCha8(key).Read(p)
	return p
}
