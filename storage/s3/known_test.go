package s3

import (
	"bytes"
	"errors"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
)

// TestOpenKnown: what a listing told of is read with one request, also where it was
// told of before that it would be read, and never another object in its place.
func TestOpenKnown(t *testing.T) {
	onServers(t, func(t *testing.T, s services.S3Server) {
		p := newProxy(t, s.Endpoint, func(request) action { return pass })
		set := quick()
		set.block = 1000
		fs := connect(t, p.server.URL, s, set)
		list := func() (all []storage.Info) {
			for info, err := range fs.List(t.Context(), "in") {
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, info)
			}
			return all
		}
		names := []string{"in/removed", "in/replaced", "in/same", "in/two-blocks"}
		for i, name := range names {
			if err := fs.CreateIfAbsent(t.Context(), name, noise(byte(i), 900+i*50)); err != nil {
				t.Fatal(err)
			}
		}
		infos := list()
		if err := fs.Remove(t.Context(), names[0]); err != nil {
			t.Fatal(err)
		}
		if err := fs.Remove(t.Context(), names[1]); err != nil {
			t.Fatal(err)
		}
		if err := fs.CreateIfAbsent(t.Context(), names[1], noise(77, 950)); err != nil {
			t.Fatal(err)
		}
		heads, gets := p.count("head"), p.count("get")
		for i, want := range []error{storage.ErrNotExist, storage.ErrChanged, nil, nil} {
			if i == 2 { // what fails is fetched again
				gets = p.count("get")
			}
			f, err := storage.OpenKnown(t.Context(), fs, infos[i])
			if err != nil {
				t.Fatal(err)
			}
			f.(storage.Prefetcher).Prefetch(0)
			f.(storage.Prefetcher).Prefetch(0)
			f.(storage.Prefetcher).Prefetch(f.Size()) // there is nothing
			got := make([]byte, f.Size())
			_, err = f.ReadAt(got, 0)
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", infos[i].Name, err, want)
			}
			if want == nil && !bytes.Equal(got, noise(byte(i), 900+i*50)) {
				t.Errorf("%s is not what was written", infos[i].Name)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			f.(storage.Prefetcher).Prefetch(0) // of what is closed: nothing
		}
		if h, g := p.count("head")-heads, p.count("get")-gets; h != 0 || g != 3 {
			t.Errorf("%d HEAD and %d GET for three blocks of two objects", h, g)
		}
		if _, err := fs.OpenKnown(t.Context(), storage.Info{Name: names[0], Size: 900}); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("without an ETag: %v", err)
		}
	})
}
