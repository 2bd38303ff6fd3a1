// Package console is what people and scripts see of a program that works with a
// cluster: exit codes, progress on standard error, a job's summary, sizes, and
// suggestions for what was misspelt.
package console

import (
	"context"
	"errors"
	"fmt"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/security"
)

// Exit codes, the same for every program and for ever.
const (
	OK          = 0
	JobFailed   = 1
	Usage       = 2
	Canceled    = 3
	NotAllowed  = 4
	Unreachable = 5
	Timeout     = 6
	CheckFailed = 7
)

// ExitCodes is the topic "exit-codes" of divisi help.
const ExitCodes = `0  all is well
1  the job failed, or the command did
2  usage: an unknown command or flag, a wrong or missing argument
3  the job was cancelled
4  not allowed
5  the cluster cannot be reached, or speaks another version
6  time-out
7  a check of data failed
`

// An Exit is an error with the code to exit with.
type Exit struct {
	Code int
	Err  error
}

func (e *Exit) Error() string { return e.Err.Error() }
func (e *Exit) Unwrap() error { return e.Err }

// Exitf is an error that exits with code.
func Exitf(code int, format string, a ...any) error {
	return &Exit{code, fmt.Errorf(format, a...)}
}

// Code is what a program that ends with err exits with.
func Code(err error) int {
	var (
		exit *Exit
		away *client.Unreachable
		skew *client.VersionSkew
		cold *client.Untrusted
	)
	switch {
	case err == nil:
		return OK
	case errors.As(err, &exit):
		return exit.Code
	case errors.As(err, &away), errors.As(err, &skew):
		return Unreachable
	case errors.Is(err, client.ErrNotAllowed), errors.As(err, &cold), errors.Is(err, security.ErrCertExpired):
		return NotAllowed
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return JobFailed
}
