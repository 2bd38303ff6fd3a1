package task

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/divisi-data/divisi/dataflow"
)

// quotaEvery is how often what a job has on a worker's disks is measured.
const quotaEvery = time.Second

// guardDisk ends all attempts when the job has more on the worker's disks than it may,
// until ctx ends. It is an error of the job's: it would come to the same elsewhere.
func (h *host) guardDisk(ctx context.Context) {
	if h.job.DiskBytes <= 0 {
		return
	}
	tick := time.NewTicker(quotaEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		used := int64(0)
		for _, d := range h.init.Dirs {
			used += treeBytes(d)
		}
		if used > h.job.DiskBytes {
			h.overQuota(used)
		}
	}
}

func (h *host) overQuota(used int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.running {
		a.cancel(&dataflow.Error{Op: "task", Task: a.id.String(), Path: h.init.Dirs[0], Kind: dataflow.User,
			Err: fmt.Errorf("%w: the job has %d bytes on the disks of worker %s, it may have %d", dataflow.ErrDiskQuota, used, h.init.Worker, h.job.DiskBytes),
			Try: "submit it with a larger --disk-quota, or give it more memory so that it spills less"})
	}
}

// treeBytes is how much the files below a folder hold. What goes away meanwhile does
// not count.
func treeBytes(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}
