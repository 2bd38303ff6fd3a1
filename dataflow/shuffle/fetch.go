package shuffle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
)

// A Location is where one producer's output lies.
type Location struct {
	Worker  string          `json:"worker"`
	Address string          `json:"address"` // of the worker's exchange
	Path    string          `json:"path"`    // as Sealed.Path says
	Task    dataflow.TaskID `json:"task"`
}

// String names producer, worker and path.
func (l Location) String() string {
	if l.Worker == "" {
		return l.Task.String() + " (" + l.Path + ")"
	}
	return l.Task.String() + " on " + l.Worker + " (" + l.Path + ")"
}

// A Fetcher gets the bytes of a range of partitions from where they lie.
type Fetcher interface {
	// Fetch returns what File.Range of the output reads, from partition lo up to and
	// without hi. Errors of kinds Canceled, OutOfMemory, User and Fatal end the
	// reader as they are; all others mean that the output cannot be had there now.
	// It is called from several goroutines; the caller closes what it returns.
	Fetch(ctx context.Context, from Location, lo, hi int) (io.ReadCloser, error)
}

// Local is a Fetcher of files on this machine.
type Local struct {
	Known *Indexes // of the outputs that it opened; nil: it keeps none
}

// Fetch implements Fetcher.
func (l Local) Fetch(_ context.Context, from Location, lo, hi int) (io.ReadCloser, error) {
	f, err := l.Known.OpenFile(from.Path)
	if err != nil {
		return nil, err
	}
	r, _, err := f.Range(lo, hi)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &localRange{r, f}, nil
}

type localRange struct {
	io.Reader
	file *File
}

func (l *localRange) Close() error { return l.file.Close() }

// A LostError says which producers' outputs could not be read, each tried twice:
// these tasks have to run again. It is wrapped in a *dataflow.Error of kind Corrupt
// where what came was damaged, and InputLost otherwise.
type LostError struct {
	Locations []Location
	Err       error // what was wrong with the first
}

func (e *LostError) Error() string {
	var names []string
	for i, l := range e.Locations {
		if i == 4 {
			names = append(names, fmt.Sprintf("%d more", len(e.Locations)-i))
			break
		}
		names = append(names, l.String())
	}
	return fmt.Sprintf("output of %s: %v", strings.Join(names, ", "), e.Err)
}

func (e *LostError) Unwrap() error { return e.Err }

// final reports whether an error is nothing that another try or another run of the
// producer would mend.
func final(err error) bool {
	switch dataflow.KindOf(err) {
	case dataflow.Canceled, dataflow.OutOfMemory, dataflow.User, dataflow.Fatal:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}
