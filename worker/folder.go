package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A folder is what a worker keeps on disk:
//
//	lock, worker-id, boot
//	jobs/<job>/...   blocks, spill files, shipped files: gone with the job
//	logs/<job>/...   kept: of hosts, of attempts, and quiet.log of those that said little
//	artifacts/<sha>  programs and files, shared between jobs
//	ready/...        a program that waits for a job
type folder struct {
	dir  string
	lock *os.File
	// left are whole outputs of an earlier process, by job.
	left map[string][]*pb.TaskID
}

// openFolder takes a folder for this process alone and removes what an earlier one
// left of its jobs, but for outputs.
func openFolder(dir string) (*folder, error) {
	if dir == "" {
		return nil, errors.New("worker: no folder given")
	}
	for _, d := range []string{dir, filepath.Join(dir, "jobs"), filepath.Join(dir, "logs"), filepath.Join(dir, "artifacts")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("worker: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("worker: another worker uses %s: give each a folder of its own", dir)
		}
		return nil, fmt.Errorf("worker: lock %s: %w", dir, err)
	}
	f := &folder{dir: dir, lock: lock}
	shuffle.Forget(dir)
	if f.left, err = foundOutputs(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("worker: %w", err), f.close())
	}
	if err := os.RemoveAll(f.ready()); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *folder) artifacts() string { return filepath.Join(f.dir, "artifacts") }

func (f *folder) ready() string { return filepath.Join(f.dir, "ready") }

// id is the worker's name, made at first use.
func (f *folder) id() (string, error) {
	name := filepath.Join(f.dir, "worker-id")
	b, err := os.ReadFile(name)
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := "w-" + randomID()[:8]
	return id, os.WriteFile(name, []byte(id+"\n"), 0o600)
}

func (f *folder) close() error {
	shuffle.Forget(f.dir)
	return f.lock.Close()
}

// machine names the file system tree this process sees, so that workers which share it
// read each other's files. "" where that cannot be known.
func machine() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	mounts, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return ""
	}
	root, err := os.Stat("/")
	if err != nil {
		return ""
	}
	inode := uint64(0)
	if st, ok := root.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprintf("%s/%s/%d", strings.TrimSpace(string(boot)), mounts, inode)
}

func diskFree(dir string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
