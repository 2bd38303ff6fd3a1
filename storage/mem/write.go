package mem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"time"

	"github.com/divisi-data/divisi/storage"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// attempt is an object on its way. Its fields are its writer's until it is sealed
// and nobody's after that.
type attempt struct {
	fs          *FS
	name, owner string
	token       string
	changed     time.Time
	data        []byte
	sealed      *storage.Sealed
	ended       bool
}

// Create begins an attempt.
func (f *FS) Create(ctx context.Context, name string) (storage.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, f.failed("create", name, err)
	}
	name = clean(name)
	if name == "" {
		return nil, f.failed("create", name, errors.New("the name is empty"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	a := &attempt{fs: f, name: name, owner: storage.Owner(ctx), token: strconv.Itoa(f.last), changed: time.Now()}
	f.attempts[a.token] = a
	return a, nil
}

func (a *attempt) Write(p []byte) (int, error) {
	if a.ended {
		return 0, a.fs.failed("write", a.name, os.ErrClosed)
	}
	a.fs.mu.Lock() // for who lists attempts
	defer a.fs.mu.Unlock()
	a.data, a.changed = append(a.data, p...), time.Now()
	return len(p), nil
}

func (a *attempt) Seal(ctx context.Context) (storage.Sealed, error) {
	if a.sealed != nil {
		return *a.sealed, nil
	}
	if a.ended {
		return storage.Sealed{}, a.fs.failed("seal", a.name, os.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return storage.Sealed{}, errors.Join(a.fs.failed("seal", a.name, err), a.Abort(ctx))
	}
	f := a.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	a.ended = true
	if f.attempts[a.token] != a {
		return storage.Sealed{}, f.failed("seal", a.name, fmt.Errorf("%w: it was removed or swept while it was written", storage.ErrGone))
	}
	a.sealed = &storage.Sealed{Name: a.name, Token: a.token, Size: int64(len(a.data)), CRC32: crc32.Checksum(a.data, castagnoli)}
	return *a.sealed, nil
}

func (a *attempt) Abort(context.Context) error {
	if a.ended {
		return nil
	}
	a.ended = true
	a.fs.mu.Lock()
	defer a.fs.mu.Unlock()
	delete(a.fs.attempts, a.token)
	return nil
}

// Publish makes a sealed attempt visible.
func (f *FS) Publish(ctx context.Context, s storage.Sealed) error {
	if err := ctx.Err(); err != nil {
		return f.failed("publish", s.Name, err)
	}
	storage.Advance(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.attempts[s.Token]
	if !ok {
		o, ok := f.objects[s.Name]
		if !ok || int64(len(o.data)) != s.Size || o.crc != s.CRC32 {
			return f.failed("publish", s.Name, fmt.Errorf("%w: attempt %s was discarded, swept or replaced", storage.ErrGone, s.Token))
		}
		return nil
	}
	if a.sealed == nil || *a.sealed != s {
		return f.failed("publish", s.Name, fmt.Errorf("attempt %s is another's or not sealed", s.Token))
	}
	if err := f.put(a.name, a.data, s.CRC32); err != nil {
		return f.failed("publish", s.Name, err)
	}
	delete(f.attempts, s.Token)
	return nil
}

// Discard forgets a sealed attempt; what is published stays.
func (f *FS) Discard(ctx context.Context, s storage.Sealed) error {
	if err := ctx.Err(); err != nil {
		return f.failed("discard", s.Name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if a, ok := f.attempts[s.Token]; ok && a.sealed != nil && *a.sealed == s {
		delete(f.attempts, s.Token)
	}
	return nil
}

// CreateIfAbsent publishes data under a free name.
func (f *FS) CreateIfAbsent(ctx context.Context, name string, data []byte) error {
	const op = "create if absent"
	name = clean(name)
	if err := ctx.Err(); err != nil {
		return f.failed(op, name, err)
	}
	if name == "" {
		return f.failed(op, name, errors.New("the name is empty"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.objects[name]; taken {
		return f.failed(op, name, storage.ErrExist)
	}
	return f.failed(op, name, f.put(name, bytes.Clone(data), crc32.Checksum(data, castagnoli)))
}
