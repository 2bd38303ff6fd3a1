package local

import (
	"context"
	"errors"
	"testing"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/storagetest"
)

// byAttempt is the driver where no file can be without a name.
type byAttempt struct{ FS }

func (byAttempt) CreateIfAbsent(ctx context.Context, name string, data []byte) error {
	const op = "create if absent"
	name, err := begin(ctx, op, name)
	if err != nil {
		return err
	}
	return failed(op, name, createByAttempt(ctx, name, data))
}

func TestCreateByAttempt(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) (storage.Filesystem, string) { return byAttempt{}, t.TempDir() })
}

// TestUnnamedFiles is of the short way, where the tests' file system has it.
func TestUnnamedFiles(t *testing.T) {
	dir := t.TempDir()
	done, err := createUnnamed(t.Context(), dir+"/out/a", []byte("x"))
	if !done {
		t.Skip("this file system has no files without a name")
	}
	ok(t, err)
	if done, err := createUnnamed(t.Context(), dir+"/out/a", []byte("y")); !done || !errors.Is(err, storage.ErrExist) {
		t.Errorf("a name that is taken: %v, %v", done, err)
	}
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := createUnnamed(dead, dir+"/out/b/c", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context has ended: %v", err)
	}
	wantInventory(t, dir, "out/", "out/a")
}
