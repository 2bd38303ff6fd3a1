package task

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/divisi-data/divisi/dataflow"
)

// temp is an attempt's spill files: a folder of its own in each of the job's folders.
type temp struct {
	dirs []string
	free func(dir string) int64 // bytes
	made atomic.Bool            // a folder may be there
	low  int64                  // the room that must be left for a folder to be written to, bytes
}

func newTemp(jobDirs []string, attempt string, low int64) (*temp, error) {
	if len(jobDirs) == 0 {
		return nil, errors.New("the worker gave no folder for spill files")
	}
	t := &temp{free: freeBytes, low: low}
	if low == 0 {
		t.low = lowWater
	}
	for _, d := range jobDirs {
		t.dirs = append(t.dirs, filepath.Join(d, "spill", attempt))
	}
	return t, nil
}

// lowWater is for workers that do not say how much room must be left, in bytes.
const lowWater = 64 << 20

// Create implements dataflow.Temp: a file in the folder with most room.
func (t *temp) Create(name string) (*os.File, error) {
	t.made.Store(true)
	best, most := "", int64(-1)
	var errs []error
	for _, d := range t.dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			errs = append(errs, err)
			continue
		}
		if free := t.free(d); free > most {
			best, most = d, free
		}
	}
	if best == "" {
		err := errors.Join(errs...)
		return nil, &dataflow.Error{Op: "spill", Kind: ownFiles(err), Err: err}
	}
	if most < t.low {
		return nil, &dataflow.Error{Op: "spill", Path: best, Kind: dataflow.DiskFull,
			Err: fmt.Errorf("%w: %d bytes free, %d must stay free", dataflow.ErrDiskFull, most, t.low),
			Try: "free space there, or add a folder"}
	}
	f, err := os.CreateTemp(best, filepath.Base(name)+"-*")
	if err != nil {
		return nil, &dataflow.Error{Op: "spill", Path: best, Kind: ownFiles(err), Err: err}
	}
	return f, nil
}

// ownFiles is what it means when a file of the host's own cannot be made: the disk is
// full, or something is wrong with the machine; nothing that the user has done.
func ownFiles(err error) dataflow.Kind {
	if dataflow.KindOf(err) == dataflow.DiskFull {
		return dataflow.DiskFull
	}
	return dataflow.Transient
}

// remove deletes all the attempt's files.
func (t *temp) remove() error {
	if !t.made.Load() {
		return nil
	}
	var errs []error
	for _, d := range t.dirs {
		errs = append(errs, os.RemoveAll(d))
	}
	return errors.Join(errs...)
}
