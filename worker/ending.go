package worker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/divisi-data/divisi/dataflow"
)

// hostError says how a host ended and what that means for its tasks.
type hostError struct {
	kind   dataflow.Kind
	killed bool // its process ended on its own account
	err    error
}

func (e *hostError) Error() string { return e.err.Error() }
func (e *hostError) Unwrap() error { return e.err }

// died says how a process ended, with the line in which the runtime says why where
// its log has one.
func died(err error, log string) error {
	e := &hostError{kind: dataflow.Unknown, killed: true, err: howEnded(err)}
	if line := crashLine(log); line != "" {
		e.err = fmt.Errorf("%w: %s", e.err, line)
		if strings.Contains(line, "out of memory") || strings.Contains(line, "cannot allocate memory") {
			e.kind = dataflow.OutOfMemory
		}
	}
	return e
}

// howEnded says in words how a process ended.
func howEnded(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return errors.New("it exited by itself")
	case errors.As(err, &exit):
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
			if st.Signal() == syscall.SIGKILL {
				return errors.New("killed by SIGKILL: by the kernel because memory ran out, or by hand")
			}
			return fmt.Errorf("killed by signal %d (%s)", st.Signal(), st.Signal())
		}
		return fmt.Errorf("exit status %d", exit.ExitCode())
	}
	return err
}

const (
	logTailBytes  = 8 << 10 // of a log, to be shown
	logSearchBack = 1 << 20 // how far back a crash is looked for
)

// lastLog is what is worth showing of a log: the beginning of a crash, which many
// goroutines' stacks follow, or the end.
func lastLog(name string) string {
	b := endOf(name, logSearchBack)
	if i := crashAt(b); i >= 0 {
		b = b[i:]
		return strings.ToValidUTF8(b[:min(len(b), logTailBytes)], "\uFFFD")
	}
	return strings.ToValidUTF8(b[max(len(b)-logTailBytes, 0):], "\uFFFD")
}

// crashLine is the line in which Go's runtime says why it ends a process.
func crashLine(name string) string {
	b := endOf(name, logSearchBack)
	i := crashAt(b)
	if i < 0 {
		return ""
	}
	line, _, _ := strings.Cut(b[i:], "\n")
	return strings.ToValidUTF8(line[:min(len(line), 1000)], "\uFFFD")
}

// crashAt is where the last crash begins in a log, -1 for none.
func crashAt(b string) int {
	at := -1
	for _, begin := range []string{"panic: ", "fatal error: "} {
		if strings.HasPrefix(b, begin) {
			at = max(at, 0)
		}
		if i := strings.LastIndex(b, "\n"+begin); i >= 0 {
			at = max(at, i+1)
		}
	}
	return at
}

// endOf is the last n bytes of a file, or what can be read of them.
func endOf(name string, n int64) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	b := make([]byte, min(info.Size(), n))
	got, _ := f.ReadAt(b, info.Size()-int64(len(b)))
	return string(b[:got])
}
