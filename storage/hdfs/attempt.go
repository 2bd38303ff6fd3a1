package hdfs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/colinmarc/hdfs/v2"
	"github.com/divisi-data/divisi/storage"
)

// Where an attempt for /data/out/part-0 of owner job7 lives while /data exists:
//
//	/data/.divisi-job7/out/part-0/attempt-4f0c22d1a96be073
//	└anchor            └ the final name below the anchor
//
// The anchor is the nearest folder that exists, at or above the parent of the
// final name's folder: the output folder is neither made nor changed before
// Publish. Where what is above the output folder may not be written, the anchor is
// the output folder itself, which then exists already.
//
// The token in a receipt is the attempt's inode and path. A file keeps its inode
// when it is renamed, so the final name's inode tells, without reading a byte,
// whether an attempt has been published.
//
// Whoever removes an attempt also removes the folders that this leaves empty, up
// to and with the hidden one; so whoever makes one must be ready to find its
// folder gone again, and starts over.
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
	inode  uint64 // of that file
}

// dir is the folder of the attempts for the name.
func (p place) dir() string {
	rest := strings.TrimPrefix(p.name, strings.TrimSuffix(p.anchor, "/")+"/")
	return path.Join(p.anchor, p.folder, rest)
}

func (p place) token() string { return strconv.FormatUint(p.inode, 10) + ":" + p.temp }

// parse checks a Sealed that may come from anywhere: its token has to be an
// attempt's file for its name, or publishing would move and discarding would
// delete any file at all.
func parse(ctx context.Context, op string, s storage.Sealed) (place, error) {
	name, err := begin(ctx, op, s.Name)
	if err != nil {
		return place{}, err
	}
	bad := failed(op, name, fmt.Errorf("%q is no attempt for this name", s.Token))
	number, temp, _ := strings.Cut(s.Token, ":")
	inode, err := strconv.ParseUint(number, 10, 64)
	if err != nil || inode == 0 || path.Clean(temp) != temp || !strings.HasPrefix(path.Base(temp), attempt) {
		return place{}, bad
	}
	anchor, rest := "", temp
	for {
		part, below, ok := strings.Cut(rest, "/")
		if !ok {
			return place{}, bad
		}
		if storage.IsOwnerFolder(part) {
			if path.Join(anchor, path.Dir(below)) != name {
				return place{}, bad
			}
			return place{anchor: path.Clean(anchor), folder: part, name: name, temp: temp, inode: inode}, nil
		}
		anchor += part + "/"
		rest = below
	}
}

// begun makes a new attempt's file for a name, in the hidden folder of the given
// base name, open for writing.
func (fs *FS) begun(ctx context.Context, name, folder string) (place, *hdfs.FileWriter, error) {
	near := false
	var p place
	var w *hdfs.FileWriter
	err := fs.retry(ctx, func() error {
		c, err := fs.writing.get()
		if err != nil {
			return err
		}
		for range 1000 { // each round means that somebody else's clean-up went on
			p = place{folder: folder, name: name}
			if p.anchor, err = anchorOf(c, name, near); err != nil {
				return err
			}
			err = interpret(mkdirs(c, p.dir(), 0o777&^fs.umask))
			if err == nil {
				w, err = c.create(&p, fs.umask)
				err = interpret(err)
			}
			switch {
			case err == nil:
				return nil
			case errors.Is(err, storage.ErrPermission) && !near && p.anchor != path.Dir(name):
				near = true
			case !errors.Is(err, storage.ErrNotExist):
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return final{errors.New("the folder for its attempts vanishes again and again")}
	})
	return p, w, err
}

// create makes the attempt's file and learns its inode.
func (c *connection) create(p *place, umask os.FileMode) (*hdfs.FileWriter, error) {
	var id [8]byte
	rand.Read(id[:])
	p.temp = path.Join(p.dir(), attempt+hex.EncodeToString(id[:]))
	w, err := c.CreateFile(p.temp, c.replication, c.blockSize, 0o666&^umask)
	if err != nil {
		return nil, err
	}
	s, err := stat(c, p.temp)
	if err == nil {
		err = refused(s)
	}
	if err == nil && s.GetFileId() == 0 {
		err = final{errors.New("the NameNode gives no inode numbers, which publishing needs")}
	}
	if err != nil {
		_, rerr := remove(c, p.temp, false)
		c.prune(*p)
		return nil, errors.Join(err, rerr)
	}
	p.inode = s.GetFileId()
	return w, nil
}

// anchorOf finds the folder that an attempt's hidden folder goes into, and refuses
// a final folder in which files would be encrypted or erasure-coded.
func anchorOf(n namenode, name string, near bool) (string, error) {
	home := path.Dir(name)
	nearest := ""
	for dir := home; ; dir = path.Dir(dir) {
		s, err := stat(n, dir)
		err = interpret(err)
		switch {
		case errors.Is(err, storage.ErrNotExist) && dir != "/":
			continue
		case err != nil:
			return "", err
		case kind(s) != isDir:
			return "", storage.Invalid(fmt.Errorf("%s is a file and no folder: %w", dir, syscall.ENOTDIR))
		}
		if nearest == "" {
			nearest = dir
			if err := refused(s); err != nil {
				return "", fmt.Errorf("%s: %w", dir, err)
			}
		}
		if dir != home || dir == "/" || near {
			return dir, nil
		}
	}
}

// prune removes the attempt folders that are empty now. What it cannot remove,
// Sweep does.
func (c *connection) prune(p place) { prune(c, p.dir(), p.anchor) }

func prune(n namenode, dir, anchor string) {
	for ; dir != anchor && len(dir) > len(anchor); dir = path.Dir(dir) {
		if _, err := remove(n, dir, false); err != nil {
			return // not empty: somebody else's attempts are in it
		}
	}
}
