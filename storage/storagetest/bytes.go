package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/divisi-data/divisi/storage"
	"golang.org/x/sync/errgroup"
)

func writeAndRead(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/out/part-0", noise(1, 1000)
	if _, err := put(ctx, fs, name, data); err != nil {
		return err
	}
	return errors.Join(holds(ctx, fs, name, data), lists(ctx, fs, prefix, name))
}

func emptyObject(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name := prefix + "/out/_SUCCESS"
	o, err := fs.Create(ctx, name)
	if err != nil {
		return err
	}
	s, err := o.Seal(ctx) // with no Write at all
	if err != nil {
		return err
	}
	if s.Size != 0 || s.CRC32 != 0 {
		return fmt.Errorf("receipt of nothing: size %d, crc32c %08x", s.Size, s.CRC32)
	}
	for range 2 {
		if err := fs.Publish(ctx, s); err != nil {
			return err
		}
	}
	return errors.Join(holds(ctx, fs, name, nil), lists(ctx, fs, prefix, name))
}

func readEdges(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/o", noise(2, 100)
	if _, err := put(ctx, fs, name, data); err != nil {
		return err
	}
	f, err := fs.Open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, c := range []struct {
		off    int64
		ask, n int
		eof    string // yes, no, may
	}{
		{0, 100, 100, "may"}, {0, 101, 100, "yes"}, {0, 1, 1, "no"}, {40, 20, 20, "no"},
		{99, 1, 1, "may"}, {99, 2, 1, "yes"}, {100, 1, 0, "yes"}, {1000, 10, 0, "yes"},
		{1 << 40, 10, 0, "yes"}, {50, 0, 0, "no"}, {0, 1 << 20, 100, "yes"},
	} {
		p := make([]byte, c.ask)
		n, err := f.ReadAt(p, c.off)
		if n != c.n || err != nil && err != io.EOF || err == nil && c.eof == "yes" || err != nil && c.eof == "no" {
			return fmt.Errorf("ReadAt of %d bytes at %d of 100: %d, %v; want %d, EOF: %s", c.ask, c.off, n, err, c.n, c.eof)
		}
		if n > 0 {
			if err := equal(fmt.Sprintf("ReadAt of %d at %d", c.ask, c.off), p[:n], data[c.off:int(c.off)+n]); err != nil {
				return err
			}
		}
	}
	if n, err := f.ReadAt(make([]byte, 5), -1); err == nil || err == io.EOF || n != 0 {
		return fmt.Errorf("ReadAt at -1: %d, %v; want an error", n, err)
	}
	return nil
}

func pieces(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/o", noise(3, 300_000)
	o, err := fs.Create(ctx, name)
	if err != nil {
		return err
	}
	rest, buf := data, make([]byte, 1<<17)
	for _, size := range []int{1, 0, 7, 4096, 65536, 1, 65537, 3, 131072, 1 << 17} {
		n := copy(buf[:min(size, len(rest))], rest)
		if got, err := o.Write(buf[:n]); err != nil || got != n {
			return fmt.Errorf("Write of %d bytes: %d, %v", n, got, errors.Join(err, o.Abort(ctx)))
		}
		rest = rest[n:]
		clear(buf) // the writer's own again
	}
	if len(rest) > 0 {
		return fmt.Errorf("the check is wrong: %d bytes left", len(rest))
	}
	s, err := o.Seal(ctx)
	if err != nil {
		return err
	}
	if err := fs.Publish(ctx, s); err != nil {
		return err
	}
	return holds(ctx, fs, name, data)
}

func largeObject(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/large", noise(4, 10<<20)
	s, err := put(ctx, fs, name, data)
	if err != nil {
		return err
	}
	if s.Size != int64(len(data)) || s.CRC32 != crc(data) {
		return fmt.Errorf("receipt: size %d, crc32c %08x; want %d, %08x", s.Size, s.CRC32, len(data), crc(data))
	}
	if err := holds(ctx, fs, name, data); err != nil {
		return err
	}
	f, err := fs.Open(ctx, name)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for i := range uint64(8) {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(5, i))
			for range 20 {
				off, n := r.IntN(len(data)), 1+r.IntN(200_000)
				n = min(n, len(data)-off)
				p := make([]byte, n)
				if got, err := f.ReadAt(p, int64(off)); got != n || err != nil && err != io.EOF {
					return fmt.Errorf("concurrent ReadAt of %d bytes at %d: %d, %v", n, off, got, err)
				}
				if err := equal(fmt.Sprintf("concurrent ReadAt of %d at %d", n, off), p, data[off:off+n]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), f.Close())
}

func receipt(ctx context.Context, fs storage.Filesystem, prefix string) error {
	name, data := prefix+"/out/part-0", noise(6, 70_001)
	s, err := sealed(ctx, fs, name, data)
	if err != nil {
		return err
	}
	if s.Name != name || s.Size != int64(len(data)) || s.CRC32 != crc(data) {
		return fmt.Errorf("receipt %+v; want name %q, size %d, crc32c %d", s, name, len(data), crc(data))
	}
	return fs.Publish(ctx, s)
}
