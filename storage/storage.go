// Package storage is bytes by name: the one interface behind which local files,
// memory, HDFS and S3 look alike, the optional abilities some of them have, and
// the registry that finds the driver for a name's scheme. It knows nothing of
// batches, formats or jobs.
//
// # From attempt to object
//
// A writer calls Create, Write and Seal. Nothing is visible yet, and the folder
// of the final name is not even made: an output is absent or whole. The Sealed
// that Seal returns is all that any process needs to Publish or to Discard.
//
// # What a dead writer leaves
//
// All that is created under a context of WithOwner can be found again by two
// things that the owner's journal knows: a prefix and the owner. Sweep(prefix,
// owner) removes it, with no list of attempts and with no help of their writers,
// and never touches what is published or another owner's. So whoever ends a job,
// or takes over a dead one, sweeps each of the job's outputs once, after all its
// writers have stopped.
//
// Only when the journal itself is lost is age the judge: what carries an owner
// that no journal knows and has not changed for longer than any job may run is
// garbage. No driver deletes by age on its own; docs/format/attempts.md says
// where each keeps its attempts and how to find old ones.
//
// # Names
//
// What follows "scheme://" (and its authority, for those that have one) is the
// name, byte for byte: percent signs, plus signs, blanks and Unicode stand for
// themselves and are never decoded. Only Glob gives characters a meaning.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"
)

// Errors that every driver returns, wrapped in *Error, for the same situation.
// Test with errors.Is; they are the fs package's own where one exists.
var (
	ErrNotExist   = fs.ErrNotExist
	ErrExist      = fs.ErrExist
	ErrPermission = fs.ErrPermission
	// ErrTransient marks a failure that may pass: a reset, a time-out, a busy
	// server. Whoever sees it may try again.
	ErrTransient = errors.New("transient storage failure")
	// ErrUnreachable marks a store that has not answered once since the process began:
	// more likely a wrong address than a busy server. It is an ErrTransient.
	ErrUnreachable = fmt.Errorf("the store does not answer: %w", ErrTransient)
	// ErrGone marks a sealed object that is neither waiting to be published nor
	// what its name holds now: it was discarded, swept, or replaced since.
	ErrGone = errors.New("sealed object is gone")
	// ErrNoDriver: the program has no driver for a scheme; asking again is no use.
	ErrNoDriver = errors.New("no driver of this scheme is linked in")
	// ErrChanged marks an object that is not the one any more that was listed or opened.
	ErrChanged = errors.New("the object has changed")
	// ErrUnsupported marks an ability that this driver lacks.
	ErrUnsupported = errors.ErrUnsupported
	// ErrInvalid marks what no repetition changes: a name that the store cannot have,
	// a setting that is wrong, an answer that the request itself is refused with.
	ErrInvalid = fs.ErrInvalid
)

// A Filesystem holds objects under slash-separated names. All methods may be
// called from many goroutines. Names are the driver's own (for local files the
// cleaned absolute path, for S3 the key below the bucket); Resolve makes them
// from what a user writes. Optional abilities are asked for with As.
type Filesystem interface {
	// Open opens an existing object for reading, or fails with ErrNotExist.
	// The caller closes it.
	Open(ctx context.Context, name string) (File, error)

	// Create begins a new object. Nobody sees it under name before Seal and
	// Publish; any number of attempts may be under way for the same name.
	Create(ctx context.Context, name string) (Object, error)

	// Publish makes a sealed object visible under its name, replacing what was
	// there. It is idempotent: publishing again, also from another process and
	// after the first has succeeded, succeeds and changes nothing. What is neither
	// waiting nor published fails with ErrGone.
	Publish(ctx context.Context, s Sealed) error

	// List yields every visible object whose name is prefix itself or lies below
	// it (prefix is cut at slashes: "out" does not match "output"; a slash at its
	// end means nothing), in order of name, byte by byte. What is created but not
	// published is not listed. A prefix that holds nothing yields nothing. An error
	// ends the sequence.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Remove deletes an object; with a folder's name all that lies below it,
	// sealed and unsealed attempts too. Removing what does not exist succeeds.
	Remove(ctx context.Context, name string) error
}

// A File is an open object. ReadAt is safe from many goroutines; a short read
// comes with an error, io.EOF at the end.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// A Prefetcher is a File that can be told what is read next: it begins to fetch the
// bytes at off, as many as it likes to keep, and returns at once.
type Prefetcher interface {
	Prefetch(off int64)
}

// An Object is one attempt to write one name. It is used by one goroutine and
// ends with exactly one of Seal and Abort; a second call of either is harmless: an
// Abort after a Seal that succeeded does nothing. Write does not keep its argument.
type Object interface {
	io.Writer
	// Seal makes what was written durable and still invisible. A Seal that fails
	// has thrown away what was written, as Abort does.
	Seal(ctx context.Context) (Sealed, error)
	// Abort throws away what was written. It is to be called with a context that
	// outlives a cancellation.
	Abort(ctx context.Context) error
}

// Sealed is all that is needed to publish or to discard a sealed object from any
// process. It travels in receipts and in the job's journal.
type Sealed struct {
	Name  string `json:"name"`            // the final name
	Token string `json:"token,omitempty"` // the driver's: a temporary path, an upload id with its parts
	Size  int64  `json:"size"`
	CRC32 uint32 `json:"crc32c"` // Castagnoli, of the stored bytes
}

// Info describes a visible object.
type Info struct {
	Name    string
	Size    int64
	ModTime time.Time // zero where the driver knows none
	Dir     bool      // only from Stat and ListFolder: a folder, or a prefix that holds something
	ETag    string    // changes with the content where the driver has it
}

// A Block is a part of a file that is stored as one.
type Block struct {
	Offset, Size int64
	Hosts        []string // that hold a replica of it
	Racks        []string // of those hosts, as the topology of the storage calls them
}

// Attempt describes what somebody began to write, or sealed, and did not publish.
type Attempt struct {
	Name  string // the final name
	Owner string // who wrote it, see WithOwner
	Size  int64  // as far as the driver can see; 0 where it cannot
	// Changed is when the driver saw it change last; that may be when it was begun.
	Changed time.Time
}

// Optional abilities. Helpers of the same name below ask for them and give the
// answer for drivers that lack them.
type (
	// BlockLocator reports where a file's bytes lie: its blocks, in order and without
	// gaps. An empty file has none. The caller changes nothing in the answer.
	BlockLocator interface {
		Blocks(ctx context.Context, name string) ([]Block, error)
	}
	// ConditionalCreator writes a small object if and only if the name is free:
	// of any number of concurrent callers exactly one succeeds, all others get
	// ErrExist. The object is durable and visible on return.
	ConditionalCreator interface {
		CreateIfAbsent(ctx context.Context, name string, data []byte) error
	}
	// Stater answers without listing.
	Stater interface {
		Stat(ctx context.Context, name string) (Info, error)
	}
	// KnownOpener opens an object that a listing has described, all of its Info, without
	// asking for it again. If it is not that any more, reads fail with ErrChanged or
	// ErrNotExist, if Open does not.
	KnownOpener interface {
		OpenKnown(ctx context.Context, info Info) (File, error)
	}
	// Discarder frees what a sealed, unpublished object holds. Idempotent.
	Discarder interface {
		Discard(ctx context.Context, s Sealed) error
	}
	// Sweeper removes all unpublished attempts below a prefix whose owner (see
	// WithOwner) is the given one, whoever made them. Idempotent.
	Sweeper interface {
		Sweep(ctx context.Context, prefix, owner string) error
	}
	// AttemptLister lists what is not published of names at or below a prefix, of
	// all owners, in no order: what Sweep would remove of each. What ends meanwhile may
	// be missing or not. An owner whose folder's name is shortened is called by that name
	// (see FolderOwner). An error ends the sequence.
	AttemptLister interface {
		Attempts(ctx context.Context, prefix string) iter.Seq2[Attempt, error]
	}
	// FolderLister lists one level: the objects and the folders directly in a
	// folder, in order of name (a folder's as if a slash ended it), what is
	// unpublished left out. A folder that is not
	// there yields nothing. An error that comes with an Info that has a Name is
	// about that entry alone; the reader may go on. Any other ends the sequence.
	FolderLister interface {
		ListFolder(ctx context.Context, folder string) iter.Seq2[Info, error]
	}
	// Unwrapper is a wrapper that can be looked through.
	Unwrapper interface {
		Unwrap() Filesystem
	}
	// Forwarder is a wrapper with methods for more abilities than what it wraps may
	// have. As believes in such an ability only where Forwards, asked with a nil
	// pointer to its interface such as (*Stater)(nil), says true.
	Forwarder interface {
		Unwrapper
		Forwards(ability any) bool
	}
)

// As finds ability T in fs or in what it wraps.
func As[T any](fs Filesystem) (T, bool) {
	for fs != nil {
		if t, ok := fs.(T); ok {
			if f, ok := fs.(Forwarder); !ok || f.Forwards((*T)(nil)) {
				return t, true
			}
		}
		u, ok := fs.(Unwrapper)
		if !ok {
			break
		}
		fs = u.Unwrap()
	}
	var none T
	return none, false
}

// Blocks reports where a file's bytes lie; none means that it is the same from everywhere.
func Blocks(ctx context.Context, fs Filesystem, name string) ([]Block, error) {
	if l, ok := As[BlockLocator](fs); ok {
		return l.Blocks(ctx, name)
	}
	return nil, nil
}

// OpenKnown opens an object that a listing has described, and asks for it again only
// where the driver has to.
func OpenKnown(ctx context.Context, fs Filesystem, info Info) (File, error) {
	if k, ok := As[KnownOpener](fs); ok {
		return k.OpenKnown(ctx, info)
	}
	return fs.Open(ctx, info.Name)
}

type ownerKey struct{}

// WithOwner marks all that is created under ctx as belonging to owner (a job), so
// that a Sweeper can find it again after its writer has died.
func WithOwner(ctx context.Context, owner string) context.Context {
	return context.WithValue(ctx, ownerKey{}, owner)
}

// Owner is what WithOwner set, or "".
func Owner(ctx context.Context) string {
	s, _ := ctx.Value(ownerKey{}).(string)
	return s
}
