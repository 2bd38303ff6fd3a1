package faulty

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/mem"
	"github.com/divisi-data/divisi/storage/storagetest"
)

var errInjected = errors.New("injected")

func TestWithoutFaultsItIsTheRealThing(t *testing.T) {
	storagetest.Run(t, func(*testing.T) (storage.Filesystem, string) {
		return Wrap(mem.New(), func(Op) error { return nil }), "top"
	}, storagetest.Has[storage.ConditionalCreator](), storagetest.Has[storage.Sweeper](), storagetest.Has[storage.Stater]())
}

func prepared(t *testing.T) *mem.FS {
	t.Helper()
	fs := mem.New()
	if err := fs.CreateIfAbsent(t.Context(), "a/o", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	return fs
}

func attempt(t *testing.T, fs storage.Filesystem, name string) storage.Object {
	t.Helper()
	o, err := fs.Create(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestEveryOperationAsks calls each operation, abilities through As too, once with
// a fault for its kind alone, and wants exactly that fault.
func TestEveryOperationAsks(t *testing.T) {
	ability := func(t *testing.T, fs storage.Filesystem) *FS {
		s, ok := storage.As[storage.Sweeper](fs)
		if !ok {
			t.Fatal("the ability is lost")
		}
		return s.(*FS)
	}
	for kind, call := range map[string]func(t *testing.T, fs *FS) error{
		Open:    func(t *testing.T, fs *FS) error { _, err := fs.Open(t.Context(), "a/o"); return err },
		Create:  func(t *testing.T, fs *FS) error { _, err := fs.Create(t.Context(), "n"); return err },
		Publish: func(t *testing.T, fs *FS) error { return fs.Publish(t.Context(), storage.Sealed{Name: "n"}) },
		List: func(t *testing.T, fs *FS) error {
			for _, err := range fs.List(t.Context(), "") {
				return err
			}
			return nil
		},
		Next: func(t *testing.T, fs *FS) error {
			for _, err := range fs.List(t.Context(), "") {
				return err
			}
			return nil
		},
		Remove: func(t *testing.T, fs *FS) error { return fs.Remove(t.Context(), "a/o") },
		Read: func(t *testing.T, fs *FS) error {
			f, err := fs.Open(t.Context(), "a/o")
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.ReadAt(make([]byte, 1), 0)
			return err
		},
		Close: func(t *testing.T, fs *FS) error {
			f, err := fs.Open(t.Context(), "a/o")
			if err != nil {
				return err
			}
			return f.Close()
		},
		Write:  func(t *testing.T, fs *FS) error { _, err := attempt(t, fs, "n").Write([]byte("x")); return err },
		Seal:   func(t *testing.T, fs *FS) error { _, err := attempt(t, fs, "n").Seal(t.Context()); return err },
		Abort:  func(t *testing.T, fs *FS) error { return attempt(t, fs, "n").Abort(t.Context()) },
		Blocks: func(t *testing.T, fs *FS) error { _, err := fs.Blocks(t.Context(), "a/o"); return err },
		CreateOnce: func(t *testing.T, fs *FS) error {
			c, _ := storage.As[storage.ConditionalCreator](fs)
			return c.CreateIfAbsent(t.Context(), "n", nil)
		},
		Stat: func(t *testing.T, fs *FS) error { _, err := storage.Stat(t.Context(), fs, "a/o"); return err },
		Discard: func(t *testing.T, fs *FS) error {
			return ability(t, fs).Discard(t.Context(), storage.Sealed{Name: "n"})
		},
		Sweep: func(t *testing.T, fs *FS) error { return ability(t, fs).Sweep(t.Context(), "a", "job") },
		ListFolder: func(t *testing.T, fs *FS) error {
			for _, err := range storage.ListFolder(t.Context(), fs, "a") {
				return err
			}
			return nil
		},
	} {
		if err := call(t, Wrap(prepared(t), At(kind, "", 1, errInjected))); !errors.Is(err, errInjected) {
			t.Errorf("%s: %v, want the injected error", kind, err)
		}
	}
}

func TestFaults(t *testing.T) {
	fs := Wrap(prepared(t), func(op Op) error {
		if op.Kind != Read {
			return nil
		}
		return map[int]error{1: Short{N: 3}, 2: Flip{At: 2}, 3: Short{N: 2, Err: errInjected}}[op.N]
	})
	f, err := fs.Open(t.Context(), "a/o")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		got string
		err error
	}{{"012", io.ErrUnexpectedEOF}, {"01\"34", nil}, {"01", errInjected}, {"01234", nil}} {
		p := make([]byte, 5)
		n, err := f.ReadAt(p, 0)
		if string(p[:n]) != want.got || !errors.Is(err, want.err) {
			t.Errorf("ReadAt = %q, %v; want %q, %v", p[:n], err, want.got, want.err)
		}
	}
}

func TestWriteNFails(t *testing.T) {
	fs := Wrap(mem.New(), At(Write, "part-0", 3, Short{N: 1, Err: errInjected}))
	for _, name := range []string{"out/part-0", "out/part-0"} { // counted by object
		o := attempt(t, fs, name)
		for i := range 3 {
			n, err := o.Write([]byte("abc"))
			if wantN, wantErr := []int{3, 3, 1}[i], []error{nil, nil, errInjected}[i]; n != wantN || !errors.Is(err, wantErr) {
				t.Fatalf("write %d: %d, %v", i+1, n, err)
			}
		}
		s, err := o.Seal(t.Context())
		if err != nil || s.Size != 7 {
			t.Fatalf("%+v, %v", s, err)
		}
	}
}

func TestWrongBytesAreStored(t *testing.T) {
	inner := mem.New()
	fs := Wrap(inner, At(Write, "", 1, Flip{At: -1}))
	o := attempt(t, fs, "o")
	data := []byte("abc")
	o.Write(data)
	s, err := o.Seal(t.Context())
	if err != nil || inner.Publish(t.Context(), s) != nil {
		t.Fatal(err)
	}
	f, err := inner.Open(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(io.NewSectionReader(f, 0, 10))
	if string(got) != "abs" || !bytes.Equal(data, []byte("abc")) {
		t.Errorf("stored %q, the caller's is now %q", got, data)
	}
}

func TestLostAnswer(t *testing.T) {
	inner := mem.New()
	fs := Wrap(inner, At(Publish, "", 1, After{errInjected}))
	s, err := attempt(t, fs, "o").Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Publish(t.Context(), s); !errors.Is(err, errInjected) {
		t.Errorf("first: %v", err)
	}
	if _, err := inner.Stat(t.Context(), "o"); err != nil {
		t.Errorf("not published: %v", err)
	}
	if err := fs.Publish(t.Context(), s); err != nil {
		t.Errorf("second: %v", err)
	}
}

func TestFailedSealLeavesNothing(t *testing.T) {
	inner := mem.New()
	o := attempt(t, Wrap(inner, At(Seal, "", 1, errInjected)), "o")
	if _, err := o.Seal(t.Context()); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	if _, err := o.Write([]byte("x")); err == nil {
		t.Error("the attempt still takes bytes")
	}
}

func TestStall(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stalled := make(chan struct{}, 4)
	fs := Wrap(prepared(t), func(op Op) error {
		if op.Kind == Read || op.Kind == Write || op.Kind == Stat {
			stalled <- struct{}{}
			return Stall
		}
		return nil
	})
	f, err := fs.Open(ctx, "a/o")
	if err != nil {
		t.Fatal(err)
	}
	closed, err := fs.Open(t.Context(), "a/o")
	if err != nil {
		t.Fatal(err)
	}
	o, err := fs.Create(ctx, "n")
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	go func() { _, err := f.ReadAt(make([]byte, 1), 0); errs <- err }()
	go func() { _, err := o.Write([]byte("x")); errs <- err }()
	go func() { _, err := fs.Stat(ctx, "a/o"); errs <- err }()
	go func() { _, err := closed.ReadAt(make([]byte, 1), 0); errs <- err }()
	for range 4 {
		<-stalled
	}
	select {
	case err := <-errs:
		t.Fatalf("did not stall: %v", err)
	default:
	}
	closed.Close()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("a read of what was closed: %v", err)
	}
	cancel(errInjected)
	for range 3 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
