package services

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
)

func TestServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(testing.TB) S3Server
	}{{"versitygw", S3}, {"minio", MinIO}} {
		t.Run(c.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // once the subtest has stopped them
			var a, b S3Server
			t.Run("two", func(t *testing.T) {
				a, b = c.start(t), c.start(t)
				if _, err := a.do(t.Context(), "PUT", "/divisi/x", "", "x"); err != nil {
					t.Fatal(err)
				}
				if _, err := a.do(t.Context(), "GET", "/divisi/x", "", ""); err != nil {
					t.Error(err)
				}
				if _, err := b.do(t.Context(), "GET", "/divisi/x", "", ""); err == nil {
					t.Error("two servers share their objects")
				}
				wrong := a
				wrong.SecretKey = "wrong"
				if _, err := wrong.do(t.Context(), "GET", "/divisi/x", "", ""); err == nil {
					t.Error("the server takes a wrong secret")
				}
				if keys, uploads := b.Left(t); len(keys)+len(uploads) > 0 {
					t.Errorf("in an empty bucket there are %q and uploads of %q", keys, uploads)
				}
				if _, err := a.do(t.Context(), "POST", "/divisi/y", "uploads=", ""); err != nil {
					t.Fatal(err)
				}
				keys, uploads := a.Left(t)
				if !slices.Equal(keys, []string{"x"}) {
					t.Errorf("keys %q", keys)
				}
				if a.Name == "versitygw" && !slices.Equal(uploads, []string{"y"}) { // MinIO lists uploads by whole keys only
					t.Errorf("uploads of %q", uploads)
				}
			})
			for _, s := range []S3Server{a, b} {
				if _, err := s.do(t.Context(), "GET", "/divisi/x", "", ""); !errors.Is(err, syscall.ECONNREFUSED) && s.Name != "" {
					t.Errorf("after its test: %v", err)
				}
			}
		})
	}
}

// A server runs in its folder, wherever the name of that is relative to.
func TestRelativeFolder(t *testing.T) {
	S3(t) // can be installed, or the test is skipped
	t.Chdir(t.TempDir())
	if err := os.Mkdir("s3", 0o755); err != nil {
		t.Fatal(err)
	}
	s, stop, err := StartS3(t.Context(), "s3")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := s.do(t.Context(), "PUT", "/divisi/x", "", "x"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join("s3", "objects", "divisi", "x")); err != nil {
		t.Error(err)
	}
}

func TestNotReady(t *testing.T) {
	p, err := start(t, t.TempDir(), nil, "sh", "-c", "echo this is why; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = p.ready(t.Context(), func(context.Context) error { return errors.New("no") })
	if err == nil || !strings.Contains(err.Error(), "this is why") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
}

func TestInstalled(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DIVISI_SERVICES_CACHE", dir)
	if _, err := installed(t.Context(), "go/x-1", func(_ context.Context, into string) error {
		return errors.Join(os.WriteFile(filepath.Join(into, "half"), nil, 0o666), errors.New("broken"))
	}); err == nil || inCache("go/x-1") {
		t.Fatalf("a failed installation stays: %v", err)
	}
	var fills atomic.Int32
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			got, err := installed(t.Context(), "go/x-1", func(_ context.Context, into string) error {
				fills.Add(1)
				return os.WriteFile(filepath.Join(into, "whole"), nil, 0o666)
			})
			if err == nil && got != filepath.Join(dir, "go", "x-1") {
				err = errors.New("wrong folder " + got)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "go", "x-1", "*"))
	if err != nil || fills.Load() != 1 || len(files) != 1 || filepath.Base(files[0]) != "whole" {
		t.Errorf("filled %d times: %q, %v", fills.Load(), files, err)
	}
}
