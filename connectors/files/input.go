package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// ErrInputChanged is wrapped when a file is not what it was while planning.
var ErrInputChanged = errors.New("input changed while the job was running")

// Codec is how a file's bytes are compressed, known by the end of its name.
type Codec = codec.Codec

// Plain is the codec of what is not compressed.
const Plain = codec.Plain

// CodecOf is the codec of a file by its name.
func CodecOf(name string) Codec { return codec.Of(name) }

// An Input is an open file and the range of it that is to be read.
type Input struct {
	Path   string // what a user would write, for messages
	File   storage.File
	Size   int64 // stored bytes of the whole file
	Offset int64 // the range, of stored bytes
	Length int64
	Codec  Codec
	// MaxRecordBytes bounds one record.
	MaxRecordBytes int64
	// OnBad decides about a record that cannot be read; nil means fail. See Bad.
	OnBad func(b BadRecord) error
	// Redact keeps what records hold out of errors.
	Redact bool
}

// End is where the range ends.
func (in *Input) End() int64 { return in.Offset + in.Length }

// Close closes the file.
func (in *Input) Close() error { return in.File.Close() }

// Reader gives the file's bytes, decompressed, from an offset on; for a compressed
// file the offset must be 0. The bytes after the range are readable too: the last
// record may reach beyond it.
func (in *Input) Reader(offset int64) (io.ReadCloser, error) {
	return in.read(&storedReader{file: in.File, pos: offset, size: in.Size})
}

func (in *Input) read(raw *storedReader) (io.ReadCloser, error) {
	if in.Codec == Plain {
		return io.NopCloser(raw), nil
	}
	return decompress(in.Codec, raw, in.Path)
}

// Place is a position in the file for messages and dataflow.Locator. In a range of a
// compressed file it is where the range begins and how many decompressed bytes follow.
func (in *Input) Place(offset int64) string {
	if in.Codec != Plain && in.Offset > 0 {
		return fmt.Sprintf("%s:%d+%d", in.Path, in.Offset, offset)
	}
	return in.Path + ":" + strconv.FormatInt(offset, 10)
}

// shownBytes of a bad record stand in its error.
const shownBytes = 256

// A BadRecord could not be read.
type BadRecord struct {
	Place  string // file and position
	Reason error
	Record []byte // all of it; the caller's
	Err    error  // what the job fails with when nobody decides otherwise
}

// Bad reports a record that cannot be read: offset is where it begins, record its
// bytes (the first 256 are shown). It returns nil when the policy is to skip the
// record, or the error to fail with, of kind User and wrapping ErrMalformed.
func (in *Input) Bad(op string, offset int64, record []byte, cause error) error {
	shown := fmt.Sprintf("%q", record[:min(len(record), shownBytes)])
	if len(record) > shownBytes {
		shown += fmt.Sprintf("... (of %d bytes)", len(record))
	}
	if in.Redact {
		shown, cause = fmt.Sprintf("%s (%d bytes)", dataflow.Redacted, len(record)), dataflow.RedactError(cause)
	}
	err := &dataflow.Error{Op: op, Path: in.Place(offset), Kind: dataflow.User,
		Err: fmt.Errorf("%w: %w: %s", dataflow.ErrMalformed, cause, shown),
		Try: `correct the record, or set the policy for bad records to "skip"`}
	if in.OnBad == nil {
		return err
	}
	return in.OnBad(BadRecord{Place: in.Place(offset), Reason: cause, Record: record, Err: err})
}

// TooLarge is the error for a record longer than MaxRecordBytes.
func (in *Input) TooLarge(op string, offset int64) error {
	return &dataflow.Error{Op: op, Path: in.Place(offset), Kind: dataflow.User,
		Err: fmt.Errorf("%w: longer than %d bytes", dataflow.ErrRecordTooLarge, in.MaxRecordBytes),
		Try: "is this the right format? otherwise raise max_record_bytes"}
}

// Fail wraps an error of reading the file at an offset: broken data is the user's,
// a failing store is transient where the store says so.
func (in *Input) Fail(op string, offset int64, err error) error {
	var known *dataflow.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	return storageError(op, in.Place(offset), err)
}

// storageError gives an error of storage its kind.
func storageError(op, path string, err error) error {
	var known *dataflow.Error
	if errors.As(err, &known) {
		return err
	}
	path = storage.Shown(path)
	kind := dataflow.KindOf(err)
	switch {
	case errors.Is(err, storage.ErrChanged):
		return &dataflow.Error{Op: op, Path: path, Kind: dataflow.User, Err: fmt.Errorf("%w: %w", ErrInputChanged, err), Try: tryQuiet}
	case errors.Is(err, storage.ErrNoDriver), errors.Is(err, storage.ErrInvalid), errors.Is(err, storage.ErrUnsupported):
		kind = dataflow.User
	case errors.Is(err, storage.ErrTransient):
		kind = dataflow.Transient
	}
	return &dataflow.Error{Op: op, Path: path, Kind: kind, Err: err}
}

// tryQuiet is what to do about ErrInputChanged.
const tryQuiet = "run the job again when nobody writes to its input"

// storedReader reads a file's stored bytes in sequence and remembers a failure of
// the store, which decompressors would hide behind their own.
type storedReader struct {
	file      storage.File
	pos, size int64
	err       error
	read      atomic.Int64 // bytes, for whoever watches
}

func (r *storedReader) Read(p []byte) (int, error) {
	if r.pos >= r.size {
		return 0, io.EOF
	}
	if int64(len(p)) > r.size-r.pos {
		p = p[:r.size-r.pos]
	}
	n, err := r.file.ReadAt(p, r.pos)
	r.pos += int64(n)
	r.read.Add(int64(n))
	if n == len(p) {
		err = nil
	} else if err == io.EOF || err == nil { // shorter than it said it was
		err = fmt.Errorf("%w: %d bytes long, was %d", ErrInputChanged, r.pos, r.size)
	}
	if err != nil {
		r.err = err
	}
	return n, err
}

// ReadAt implements io.ReaderAt, for codecs whose parts are read alone.
func (r *storedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.file.ReadAt(p, off)
	r.read.Add(int64(n))
	if n == len(p) {
		return n, nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	if err != io.EOF || off+int64(n) < r.size {
		r.err = err
	}
	return n, err
}

// planningError is storageError for what is asked before the job has begun. A store that
// never answered is then the user's: nothing is lost by saying so at once.
func planningError(op, path string, err error) error {
	if errors.Is(err, storage.ErrUnreachable) {
		return &dataflow.Error{Op: op, Path: path, Kind: dataflow.User, Err: err, Try: "check the address, and that the servers are up"}
	}
	return storageError(op, path, err)
}
