package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/faulty"
	"github.com/divisi-data/divisi/storage/mem"
)

// bytesLies are wrong in one way each, about what is written and read.
var bytesLies = []lie{
	{"reads flip a bit", "write and read", func() storage.Filesystem {
		return faulty.Wrap(mem.New(), faulty.At(faulty.Read, "", 1, faulty.Flip{At: 3}))
	}},
	{"reads are short without an error", "large object read by many", func() storage.Filesystem {
		return opens(file{readAt: func(f storage.File, p []byte, off int64) (int, error) {
			n, err := f.ReadAt(p[:min(len(p), 1000)], off)
			if n == 1000 {
				err = nil
			}
			return n, err
		}})
	}},
	{"the end is no EOF", "reads at the edges", func() storage.Filesystem {
		return opens(file{readAt: func(f storage.File, p []byte, off int64) (int, error) {
			n, err := f.ReadAt(p, off)
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}})
	}},
	{"a negative offset is the end", "reads at the edges", func() storage.Filesystem {
		return opens(file{readAt: func(f storage.File, p []byte, off int64) (int, error) {
			if off < 0 {
				return 0, io.EOF
			}
			return f.ReadAt(p, off)
		}})
	}},
	{"size is wrong", "write and read", func() storage.Filesystem { return opens(file{more: 1}) }},
	{"empty objects get a byte", "empty object", func() storage.Filesystem { return opens(file{more: 1}) }},
	{"writes keep the caller's buffer", "pieces of all sizes", func() storage.Filesystem {
		return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
			o, err := fs.Create(ctx, name)
			var kept [][]byte
			return &object{Object: o,
				write: func(_ storage.Object, p []byte) (int, error) { kept = append(kept, p); return len(p), nil },
				seal: func(o storage.Object, ctx context.Context) (storage.Sealed, error) {
					o.Write(bytes.Join(kept, nil))
					return o.Seal(ctx)
				}}, err
		}}
	}},
	{"a write is lost", "pieces of all sizes", func() storage.Filesystem {
		n := 0
		return creates(object{write: func(o storage.Object, p []byte) (int, error) {
			if n++; n == 5 {
				return len(p), nil
			}
			return o.Write(p)
		}})
	}},
	{"stored bytes are wrong", "large object read by many", func() storage.Filesystem {
		return faulty.Wrap(mem.New(), func(op faulty.Op) error {
			if op.Kind == faulty.Write && op.Len > 1<<20 {
				return faulty.Flip{At: 5 << 20}
			}
			return nil
		})
	}},
	{"receipt without checksum", "receipt", func() storage.Filesystem {
		return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
			o, err := fs.Create(ctx, name)
			return &object{Object: o, seal: func(o storage.Object, ctx context.Context) (storage.Sealed, error) {
				s, err := o.Seal(ctx)
				s.CRC32 = 0
				return s, err
			}}, err
		}}
	}},
	{"a fault that is simply returned", "write and read", func() storage.Filesystem {
		return faulty.Wrap(mem.New(), faulty.At(faulty.Seal, "", 1, errors.New("injected")))
	}},
}
