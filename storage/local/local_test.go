package local

import (
	"testing"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/storagetest"
)

func TestSuite(t *testing.T) {
	open := func(t *testing.T) (storage.Filesystem, string) { return FS{}, t.TempDir() + "/top" }
	storagetest.Run(t, open,
		storagetest.Has[storage.ConditionalCreator](), storagetest.Has[storage.Stater](), storagetest.Has[storage.Discarder](),
		storagetest.Has[storage.Sweeper](), storagetest.Has[storage.AttemptLister](), storagetest.Has[storage.FolderLister]())
}
