package s3

import (
	"context"
	"iter"
	"strings"

	"github.com/divisi-data/divisi/storage"
)

// Attempts implements storage.AttemptLister: an attempt for each mark, whose time is
// when its upload was begun. How much was uploaded is not asked for.
func (f *FS) Attempts(ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error] {
	prefix = clean(prefix)
	return func(yield func(storage.Attempt, error) bool) {
		for page, err := range f.all(ctx, f.marks+hidden) {
			if err != nil {
				yield(storage.Attempt{}, err)
				return
			}
			for _, o := range page {
				folder, name, _, ok := f.parseMark(o.Key)
				owner, known := storage.FolderOwner(folder)
				if !ok || !known || prefix != "" && name != prefix && !strings.HasPrefix(name, prefix+"/") {
					continue
				}
				if !yield(storage.Attempt{Name: name, Owner: owner, Changed: o.LastModified}, nil) {
					return
				}
			}
		}
	}
}
