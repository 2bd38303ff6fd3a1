package s3

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
)

// TestStormOfRepetitions: a thousand requests that a server refuses for five minutes are
// not asked a thousand times each; every one ends by name, and one after them is made.
func TestStormOfRepetitions(t *testing.T) {
	environ(t, "http://127.0.0.1:1", services.S3Server{AccessKey: "a", SecretKey: "b", Region: "us-east-1"})
	c, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		fs, err := newFS(c, "bucket", standard)
		if err != nil {
			t.Fatal(err)
		}
		defer fs.close()
		if err := fs.try(t.Context(), "read", "there", func(call) error { return nil }); err != nil {
			t.Fatal(err)
		}
		const n = 1000
		var asked atomic.Int64
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				err := fs.try(context.Background(), "read", "busy", func(call) error {
					asked.Add(1)
					return errors.New("reset by peer")
				})
				if !errors.Is(err, storage.ErrTransient) || errors.Is(err, storage.ErrUnreachable) {
					t.Errorf("it ends with %v", err)
				}
			})
		}
		all.Wait()
		seconds := int64(standard.budget.Seconds())
		if repeats := asked.Load() - n; repeats > 100+n/10+10*seconds || repeats < 5*seconds {
			t.Errorf("%d requests were repeated %d times in %d s", n, repeats, seconds)
		}
		if err := fs.try(t.Context(), "read", "there", func(call) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
