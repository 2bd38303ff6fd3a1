package mem

import (
	"testing"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/storagetest"
)

func TestSuite(t *testing.T) {
	open := func(*testing.T) (storage.Filesystem, string) { return New(), "top" }
	storagetest.Run(t, open, all...)
}

var all = []storagetest.Option{
	storagetest.Has[storage.ConditionalCreator](), storagetest.Has[storage.Stater](), storagetest.Has[storage.Discarder](),
	storagetest.Has[storage.Sweeper](), storagetest.Has[storage.FolderLister](),
}
