package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/divisi-data/divisi/storage"
)

// Where an attempt for /data/out/part-0 of owner job7 lives while /data exists
// and /data/out does not, or does:
//
//	/data/.divisi-job7/out/part-0/attempt-4f0c22d1a96be073
//	└anchor            └ the final name below the anchor
//
// The anchor is the nearest folder that exists, at or above the parent of the
// final name's folder: the output folder is neither made nor changed before
// Publish, and a rename need not leave the disk. Where that cannot be (the output
// folder is a mount of its own, or what is above it may not be written) the
// anchor is the output folder itself, which then exists already.
//
// The hidden folder names the owner and its inside repeats the final name, so the
// attempts below any prefix are found by looking into the prefix and beside each
// folder above it. Whoever removes an attempt also removes the folders that this
// leaves empty, up to and with the hidden one. Whoever makes one therefore must be
// ready to find its new folder gone again, and starts over.
const (
	hidden  = storage.AttemptFolder
	attempt = "attempt-"
)

// reserved reports whether a name has an attempt folder among its parts.
func reserved(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if storage.IsOwnerFolder(part) {
			return true
		}
	}
	return false
}

// place is one attempt's.
type place struct {
	anchor string // an existing folder
	folder string // base name of the owner's folder in it
	name   string // the final name
	temp   string // the attempt's file
}

// parse checks a Sealed that may come from anywhere: its token has to be an
// attempt's file for its name, or publishing would move and discarding would
// delete any file at all.
func parse(op string, s storage.Sealed) (place, error) {
	name, err := clean(op, s.Name)
	if err != nil {
		return place{}, err
	}
	bad := failed(op, name, fmt.Errorf("%q is no attempt for this name", s.Token))
	if path.Clean(s.Token) != s.Token || !strings.HasPrefix(path.Base(s.Token), attempt) {
		return place{}, bad
	}
	anchor, rest := "", s.Token
	for {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return place{}, bad
		}
		if part := rest[:i]; storage.IsOwnerFolder(part) {
			if path.Join(anchor, path.Dir(rest[i+1:])) != name {
				return place{}, bad
			}
			return place{anchor: path.Clean(anchor), folder: part, name: name, temp: s.Token}, nil
		}
		anchor += rest[:i] + "/"
		rest = rest[i+1:]
	}
}

// begun makes a new attempt's file for a name, in the hidden folder of the given
// base name. near puts that into the final name's own folder.
func begun(ctx context.Context, name, folder string, near bool) (place, *os.File, error) {
	// Every failure here means that somebody else's clean-up went on, so the
	// loop ends; the bound is for a file system that lies.
	for range 1000 {
		if err := ctx.Err(); err != nil {
			return place{}, nil, err
		}
		anchor, err := anchorOf(name, near)
		if err != nil {
			return place{}, nil, err
		}
		p := place{anchor: anchor, folder: folder, name: name}
		dir := p.dir()
		err = mkdirs(anchor, path.Join(anchor, folder))
		if err == nil {
			err = own(path.Join(anchor, folder))
		}
		if err == nil {
			err = mkdirs(anchor, dir)
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if home := path.Dir(name); anchor != home && denied(err) && isFolder(home) {
				near = true
				continue
			}
			return place{}, nil, err
		}
		var id [8]byte
		rand.Read(id[:])
		p.temp = path.Join(dir, attempt+hex.EncodeToString(id[:]))
		f, err := os.OpenFile(p.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			return p, f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			p.prune()
			return place{}, nil, err
		}
	}
	return place{}, nil, errors.New("the folder for its attempts vanishes again and again")
}

// own refuses a link in the place of an owner's folder, which in a folder that all
// may write to, such as /tmp, somebody else can have put there.
func own(folder string) error {
	fi, err := os.Lstat(folder)
	if err == nil && !fi.IsDir() {
		return fmt.Errorf("%s is no folder (%s): it is not followed; remove it by hand", folder, fi.Mode().Type())
	}
	return err
}

// anchorOf finds the folder that an attempt's hidden folder goes into.
func anchorOf(name string, near bool) (string, error) {
	home := path.Dir(name)
	if near {
		return home, nil
	}
	anchor := path.Dir(home)
	for {
		fi, err := os.Stat(anchor)
		if err == nil && !fi.IsDir() {
			return "", fmt.Errorf("%s is a file and no folder: %w", anchor, syscall.ENOTDIR)
		}
		if err == nil {
			break
		}
		if !absent(err) || anchor == path.Dir(anchor) {
			return "", err
		}
		anchor = path.Dir(anchor)
	}
	if fi, err := os.Stat(home); err == nil {
		if !fi.IsDir() {
			return "", fmt.Errorf("%s is a file and no folder: %w", home, syscall.ENOTDIR)
		}
		if !sameDevice(anchor, home) {
			return home, nil
		}
	}
	return anchor, nil
}

// dir is the folder of the attempts for the name.
func (p place) dir() string {
	rest := strings.TrimPrefix(p.name, strings.TrimSuffix(p.anchor, "/")+"/")
	return path.Join(p.anchor, p.folder, rest)
}

// prune removes the attempt folders that are empty now.
func (p place) prune() { prune(p.dir(), p.anchor) }

func prune(dir, anchor string) {
	for ; dir != anchor && len(dir) > len(anchor); dir = path.Dir(dir) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // not empty: somebody else's attempts are in it
		}
	}
}

// mkdirs makes dir and what is missing above it up to root, which it never makes.
func mkdirs(root, dir string) error {
	if dir == root {
		return nil
	}
	err := os.Mkdir(dir, 0o777)
	if errors.Is(err, fs.ErrNotExist) && path.Dir(dir) != root {
		if err := mkdirs(root, path.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o777)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := os.Stat(dir)
	if err == nil && !fi.IsDir() {
		return fmt.Errorf("%s is a file and no folder: %w", dir, syscall.ENOTDIR)
	}
	return err
}

// flush makes the entries of dir, and of the folders above it up to root,
// durable. Folders that this user cannot open, and file systems that have no
// such thing, are as durable as they are.
func flush(dir, root string) error {
	for {
		d, err := os.Open(dir)
		if err == nil {
			err = d.Sync()
			d.Close()
		}
		if err != nil && !denied(err) && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		if dir == root || len(dir) <= len(root) {
			return nil
		}
		dir = path.Dir(dir)
	}
}

func denied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func isFolder(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.IsDir()
}
