package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// How a folder changes hands. Who starts holds the gate, a lock beside the folder, so
// that they come one after the other, and says in it who it is: while journal is nobody's
// name, the one that is displaced learns from there by whom. A folder that nobody has is locked, and that is
// all. One that another process has is taken over in these steps:
//
//  1. journal is renamed to journal.taken. From here on whatever the other one writes goes
//     there, and it finds out before it acknowledges anything (see fenced).
//  2. journal.taken is read, and what is to be kept written to journal.new.
//  3. journal.new is renamed to journal.
//  4. journal.taken is removed.
//
// After a crash there is journal.taken without journal, which is step 2 again, or with
// it, which is step 4.
const (
	gateSuffix  = ".gate"
	takenSuffix = ".taken"
	newSuffix   = ".new"

	beatEvery = 500 * time.Millisecond
)

// A hold is a folder that this process has.
type hold struct {
	d    *folder
	lock *os.File
	// Of a take-over that is under way, until finish: the folder to read, and the gate.
	taken *folder
	gate  *os.File
}

// release gives up what is held.
func (h *hold) release() error {
	var errs []error
	if h.taken != nil {
		errs = append(errs, h.taken.close())
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Close())
	}
	if h.d != nil {
		errs = append(errs, h.d.close())
	}
	if h.gate != nil {
		errs = append(errs, h.gate.Close())
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// acquire gets hold of a folder for self. It is made if need be.
func acquire(dir string, takeOver bool, self Holder) (*hold, error) {
	h := &hold{}
	if err := h.acquire(dir, takeOver, self); err != nil {
		return nil, errors.Join(err, h.release())
	}
	return h, nil
}

func (h *hold) acquire(dir string, takeOver bool, self Holder) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if h.gate, err = os.OpenFile(dir+gateSuffix, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	free, err := tryLock(h.gate)
	if err != nil {
		return fmt.Errorf("lock %s: %w", dir+gateSuffix, err)
	}
	if !free {
		return fmt.Errorf("%w: %s is starting on %s at this moment (try again; if it never ends, end that process)", ErrLocked, readGate(dir), dir)
	}
	if err := self.write(h.gate); err != nil {
		return err
	}
	if exists(dir+takenSuffix) && !exists(dir) {
		return h.take(dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if h.d, err = openFolder(dir); err != nil {
		return err
	}
	if free, err = h.lockFolder(); err != nil {
		return err
	}
	switch {
	case free:
		if err := os.RemoveAll(dir + takenSuffix); err != nil {
			return err
		}
		gate := h.gate
		h.gate = nil
		return gate.Close()
	case !takeOver:
		return &Locked{dir, readHolder(h.d)}
	}
	if err := h.displace(dir); err != nil {
		return err
	}
	return h.take(dir)
}

// lockFolder says false when another process has the folder.
func (h *hold) lockFolder() (free bool, err error) {
	if h.lock, err = h.d.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return false, err
	}
	if free, err = tryLock(h.lock); err != nil {
		return false, fmt.Errorf("lock %s: %w", h.d.full(lockName), err)
	}
	return free, nil
}

// displace takes the name from a folder that another process has: step 1.
func (h *hold) displace(dir string) error {
	err := errors.Join(h.lock.Close(), h.d.close(), os.RemoveAll(dir+takenSuffix))
	h.lock, h.d = nil, nil
	if err != nil {
		return err
	}
	if err := os.Rename(dir, dir+takenSuffix); err != nil {
		return fmt.Errorf("take over %s: %w", dir, err)
	}
	return syncPath(filepath.Dir(dir))
}

// take begins step 2.
func (h *hold) take(dir string) (err error) {
	if h.taken, err = openFolder(dir + takenSuffix); err != nil {
		return err
	}
	if err := os.RemoveAll(dir + newSuffix); err != nil {
		return err
	}
	if err := os.Mkdir(dir+newSuffix, 0o700); err != nil {
		return err
	}
	if h.d, err = openFolder(dir + newSuffix); err != nil {
		return err
	}
	free, err := h.lockFolder()
	if err == nil && !free {
		err = fmt.Errorf("%w: %s", ErrLocked, h.d.full(lockName))
	}
	return err
}

// finish is steps 3 and 4, when the new folder is whole and durable.
func (h *hold) finish(dir string) error {
	if err := os.Rename(dir+newSuffix, dir); err != nil {
		return fmt.Errorf("take over %s: %w", dir, err)
	}
	if err := syncPath(filepath.Dir(dir)); err != nil {
		return err
	}
	h.d.path = dir
	// What is left of it, because its old owner has just made a file in it, goes at the
	// next start.
	_ = os.RemoveAll(dir + takenSuffix)
	err := errors.Join(h.taken.close(), h.gate.Close())
	h.taken, h.gate = nil, nil
	return err
}

// syncPath makes names in a folder durable.
func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
