package exchange

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Most attempts have nothing to say but that they began and ended. A file for each of
// them would cost more than many of them do; their lines are in one file of the job's,
// the lines of an attempt together, each after the attempt's name and a space.
const quietLog = "quiet.log"

// KeepQuiet adds an attempt's log, in whole lines, to those of a job in a folder of
// logs. Any number of processes may do so at a time.
func KeepQuiet(dir, attempt string, lines []byte) error {
	var b bytes.Buffer
	for line := range bytes.Lines(lines) {
		b.WriteString(attempt)
		b.WriteByte(' ')
		b.Write(line)
	}
	f, err := os.OpenFile(filepath.Join(dir, quietLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes()) // at once, so that no other's lines come between
	return errors.Join(err, f.Close())
}

// quietLines is the log of an attempt that KeepQuiet has kept; it has whole lines, so
// one that is empty is not there.
func quietLines(dir, attempt string) ([]byte, error) {
	all, err := os.ReadFile(filepath.Join(dir, quietLog))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mark := []byte(attempt + " ")
	rest := all
	if !bytes.HasPrefix(rest, mark) {
		i := bytes.Index(rest, append([]byte("\n"), mark...))
		if i < 0 {
			return nil, nil
		}
		rest = rest[i+1:]
	}
	var lines []byte
	for line := range bytes.Lines(rest) {
		text, ours := bytes.CutPrefix(line, mark)
		if !ours {
			break
		}
		lines = append(lines, text...)
	}
	return lines, nil
}
