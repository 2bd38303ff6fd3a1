// Package s3 is the driver for Amazon S3 and what is compatible with it: scheme
// s3, s3://bucket/key.
//
// # An attempt
//
// Create writes a mark, an object under .divisi-OWNER/ that readers do not see.
// What is written goes into a multipart upload to the final key, part by part, and
// the upload's id into the mark. Seal uploads the rest; Publish completes the
// upload, which moves no bytes, and removes the mark. So the marks tell what dead
// writers left (see mark.go), and a job that has ended leaves neither uploads nor
// marks.
//
// What is published carries its attempt's id as user metadata, divisi-attempt.
// That is how an answer that got lost is found out about: the object is there and
// is this attempt's, or it is not.
//
// # Names
//
// Keys are taken as they are, but for slashes at their end. Keys that end in a
// slash and hold nothing, with which some tools stand for folders, are not listed.
// A bucket must list in order, which directory buckets do not.
//
// # Settings
//
// Of the AWS tools' environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_DEFAULT_REGION,
// AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_CA_BUNDLE, the shared config and
// credentials files, web identities, container and instance roles. Of its own:
// DIVISI_S3_ATTEMPTS, a folder in each bucket for the marks, for those who may not
// write to the top of it; it has to be the same in all processes of a job.
package s3

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/semaphore"
)

const scheme = "s3://"

func init() {
	storage.Register(storage.Driver{
		Scheme:  "s3",
		Summary: "Amazon S3 and compatible stores: s3://bucket/key",
		Open:    open,
		URI: func(base, name string) string {
			bucket, _, _ := strings.Cut(strings.TrimPrefix(base, scheme), "/")
			return scheme + bucket + "/" + name
		},
	})
}

// FS is one bucket.
type FS struct {
	bucket  string
	marks   string // the folder of the marks, "" or ending in a slash
	core    *minio.Core
	creds   *chain
	getter  *getter // a pointer, so that whatever prints a filesystem does not print what it signs with
	refresh func()  // makes the next request ask for credentials again
	close   func()  // ends idle connections
	set     settings
	inFly   *semaphore.Weighted // bytes of parts being uploaded
	pace    pace
	repeats storage.Repeats
	spares  spares
	reached sync.Once
	alive   chan struct{} // closed when a request has first succeeded
}

// settings are numbers that tests change.
type settings struct {
	part     int           // bytes of the first parts
	uploads  int64         // bytes of parts in flight, of all writers
	block    int           // bytes of one read ahead
	page     int           // keys a listing asks for at once
	idle     time.Duration // without a byte moved, an attempt of a request has failed
	pause    time.Duration // before the second attempt; doubles from there
	pauseMax time.Duration
	repeats  float64          // attempts after the first, a second, of all requests
	budget   time.Duration    // for all attempts of one request
	first    time.Duration    // the same, as long as no request has ever succeeded
	hedge    time.Duration    // a read is asked for twice after this, or later
	late     [2]time.Duration // pauses in which a part of an upload that was aborted may arrive
}

var standard = settings{
	part: 8 << 20, uploads: 64 << 20, block: 2 << 20, page: 1000,
	idle: time.Minute, pause: 100 * time.Millisecond, pauseMax: 10 * time.Second, repeats: 10,
	budget: 5 * time.Minute, first: 20 * time.Second, hedge: 300 * time.Millisecond,
	late: [2]time.Duration{100 * time.Millisecond, 500 * time.Millisecond},
}

var (
	_ storage.Filesystem         = (*FS)(nil)
	_ storage.ConditionalCreator = (*FS)(nil)
	_ storage.Stater             = (*FS)(nil)
	_ storage.KnownOpener        = (*FS)(nil)
	_ storage.Prefetcher         = (*file)(nil)
	_ storage.Discarder          = (*FS)(nil)
	_ storage.Sweeper            = (*FS)(nil)
	_ storage.AttemptLister      = (*FS)(nil)
	_ storage.FolderLister       = (*FS)(nil)
)

var buckets = struct {
	sync.Mutex
	m map[config]map[string]*FS
}{m: map[config]map[string]*FS{}}

// open finds the bucket's filesystem, shared by all that have the same settings.
func open(_ context.Context, uri string) (storage.Filesystem, string, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(uri, scheme), "/")
	if strings.Contains(bucket, "@") {
		// Whatever stands before the @ is not repeated.
		return nil, "", &storage.Error{Op: "resolve", Path: scheme + bucket[strings.LastIndexByte(bucket, '@')+1:] + "/" + key,
			Err: storage.Invalid(errors.New("credentials have no place in a name: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"))}
	}
	if bucket == "" {
		return nil, "", &storage.Error{Op: "resolve", Path: uri, Err: storage.Invalid(errors.New("the bucket is missing: s3://bucket/key"))}
	}
	c, err := environment()
	if err != nil {
		return nil, "", &storage.Error{Op: "resolve", Path: uri, Err: storage.Invalid(err)}
	}
	buckets.Lock()
	defer buckets.Unlock()
	if fs := buckets.m[c][bucket]; fs != nil {
		return fs, clean(key), nil
	}
	fs, err := newFS(c, bucket, standard)
	if err != nil {
		return nil, "", &storage.Error{Op: "resolve", Path: uri, Err: storage.Invalid(err)}
	}
	if buckets.m[c] == nil {
		buckets.m[c] = map[string]*FS{}
	}
	buckets.m[c][bucket] = fs
	return fs, clean(key), nil
}

// String names the bucket. Whatever prints a filesystem prints no more of it.
func (f *FS) String() string { return scheme + f.bucket }

// GoString is String.
func (f *FS) GoString() string { return f.String() }
