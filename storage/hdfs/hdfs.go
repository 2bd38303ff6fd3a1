// Package hdfs is the driver for the Hadoop Distributed File System: scheme hdfs.
// Names are cleaned absolute paths. The cluster, its NameNodes and its security
// come from core-site.xml and hdfs-site.xml in HADOOP_CONF_DIR; conf.go says what
// is read.
//
// An attempt lives in a hidden folder outside the folder of its final name until
// it is published; attempt.go has the layout. Publishing is a rename on the
// NameNode, which is atomic, and so is creating if absent.
//
// # When nodes fail
//
// Whatever asks a NameNode goes on while the active one changes, for up to a
// minute. A read goes on with another replica when a DataNode dies, and also when
// one only stops answering. Its bytes are compared with HDFS's checksums. A write
// does not survive the death of a DataNode it goes to: it fails with
// storage.ErrTransient, and is to be done again, as a new attempt. Up to a
// mebibyte the driver does that by itself.
//
// Sealed is what HDFS calls complete: every DataNode of the pipeline has the
// bytes, though perhaps in its memory only.
//
// Files in encryption zones and erasure-coded files are refused, in both
// directions: ErrEncrypted, ErrErasureCoded.
package hdfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/divisi-data/divisi/storage"
)

// Files that this driver does not read or write.
var (
	ErrEncrypted    = unsupported("the file or folder lies in an encryption zone, which this driver does not read or write: use one outside of it")
	ErrErasureCoded = unsupported("the file or folder is erasure-coded, which this driver does not read or write: use one with replication (hdfs ec -setPolicy -replicate)")
)

// unsupported is an error of storage.ErrUnsupported, by its text.
type unsupported string

func (e unsupported) Error() string { return string(e) }

// Is makes it one of storage.ErrUnsupported.
func (e unsupported) Is(target error) bool { return target == storage.ErrUnsupported }

func init() {
	storage.Register(storage.Driver{
		Scheme:  "hdfs",
		Summary: "HDFS: hdfs://host:port/path, hdfs://nameservice/path, or hdfs:///path on the cluster of HADOOP_CONF_DIR",
		Open:    open,
		URI:     uri,
	})
}

// FS is one cluster, as one user sees it. It connects when it is first used.
type FS struct {
	target
	reading lane // NameNode calls and reads
	writing lane // whatever holds a lease

	met     atomic.Bool // a NameNode has answered once
	repeats storage.Repeats

	// patience bounds how long one operation is tried again, unmet before any
	// NameNode has answered.
	patience, unmet time.Duration
}

var (
	_ storage.Filesystem         = (*FS)(nil)
	_ storage.ConditionalCreator = (*FS)(nil)
	_ storage.Stater             = (*FS)(nil)
	_ storage.Discarder          = (*FS)(nil)
	_ storage.Sweeper            = (*FS)(nil)
	_ storage.AttemptLister      = (*FS)(nil)
	_ storage.FolderLister       = (*FS)(nil)
	_ storage.BlockLocator       = (*FS)(nil)
)

func newFS(t target) *FS {
	fs := &FS{target: t, patience: time.Minute, unmet: 15 * time.Second}
	fs.reading = lane{fs: fs, dataStall: 3 * time.Second}
	fs.writing = lane{fs: fs, dataStall: 10 * time.Second}
	return fs
}

// shared has the one FS of each cluster and user.
var shared = struct {
	sync.Mutex
	of map[string]*FS
}{of: map[string]*FS{}}

const scheme = "hdfs://"

func open(_ context.Context, uri string) (storage.Filesystem, string, error) {
	authority, name, err := split(uri)
	if err != nil {
		return nil, "", failed("resolve", uri, storage.Invalid(err))
	}
	t, err := configured(authority)
	if err != nil {
		return nil, "", failed("resolve", uri, storage.Invalid(err))
	}
	shared.Lock()
	defer shared.Unlock()
	fs, ok := shared.of[t.key]
	if !ok {
		fs = newFS(t)
		shared.of[t.key] = fs
	}
	return fs, name, nil
}

func split(uri string) (authority, name string, err error) {
	rest, ok := strings.CutPrefix(uri, scheme)
	if !ok {
		return "", "", errors.New("not of the form hdfs://[host:port]/path")
	}
	authority, below, ok := strings.Cut(rest, "/")
	if !ok && authority == "" {
		return "", "", errors.New("the path is missing: hdfs:///data/in, or hdfs://host:port/data/in")
	}
	if strings.Contains(authority, "@") {
		return "", "", errors.New("the part before the path is host:port or a nameservice: the user is named by HADOOP_USER_NAME")
	}
	if strings.IndexByte(below, 0) >= 0 {
		return "", "", errors.New("the path holds a zero byte")
	}
	return authority, path.Clean("/" + below), nil
}

func uri(base, name string) string {
	authority, _, err := split(base)
	if err != nil {
		return name
	}
	return scheme + authority + name
}

// begin is the start of every operation: a live context and a good name.
func begin(ctx context.Context, op, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", failed(op, name, err)
	}
	if !strings.HasPrefix(name, "/") {
		return "", failed(op, name, errors.New("not an absolute path: names come from storage.Resolve"))
	}
	return path.Clean(name), nil
}

// failed is err in the words of the storage package.
func failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*storage.Error](err); ok {
		return e
	}
	if errors.Is(err, errNotFolder) && (op == "open" || op == "stat" || op == "hosts") {
		err = fmt.Errorf("%w: %w", storage.ErrNotExist, err)
	}
	return &storage.Error{Op: op, Path: name, Err: err}
}
