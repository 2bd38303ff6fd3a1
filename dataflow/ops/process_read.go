package ops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

const (
	processBuffer   = 256 << 10
	stderrLineBytes = 16 << 10 // of a line on standard error that are kept
	stderrLast      = 20       // lines that an error shows
	reporterMax     = 1000     // counters of one program
)

// read makes batches of what the program prints.
func (p *program) read() {
	defer close(p.out)
	b := array.NewStringBuilder(p.env.Alloc)
	defer b.Release()
	rows, size := max(1, p.env.BatchRows), max(1, p.env.BatchBytes)
	send := func() bool {
		if b.Len() == 0 {
			return true
		}
		col := b.NewArray()
		batch := array.NewRecordBatch(processSchema, []arrow.Array{col}, int64(col.Len()))
		col.Release()
		select {
		case p.out <- batch:
			return true
		case <-p.stop:
			batch.Release()
			return false
		}
	}
	err := p.lines(func(line []byte) bool {
		b.BinaryBuilder.Append(line)
		return b.Len() < rows && b.DataLen() < size || send()
	})
	if err != nil { // read nothing more; the program sees that
		p.readErr = err
		p.strike()
	}
	p.stdout.Close()
	close(p.printed)
	send()
}

// lines calls f with each line that is printed, until it says no. The line is f's
// until it returns.
func (p *program) lines(f func(line []byte) bool) error {
	buf := make([]byte, processBuffer)
	var part []byte // of a line that is longer than what was read
	for {
		n, err := p.stdout.Read(buf)
		for data := buf[:n]; len(data) > 0; {
			line, rest, whole := bytes.Cut(data, []byte{'\n'})
			data = rest
			if whole && len(part) == 0 {
				if !f(line) {
					return nil
				}
				continue
			}
			if int64(len(part)+len(line)) > p.op.MaxLineBytes {
				return p.failure(dataflow.User, fmt.Errorf("%w: it prints a line of more than %d bytes", dataflow.ErrRecordTooLarge, p.op.MaxLineBytes), "")
			}
			had := cap(part)
			part = append(part, line...)
			if grown := cap(part) - max(had, processBuffer); grown > 0 {
				if err := p.mem.must(int64(grown)); err != nil {
					return err
				}
			}
			if whole {
				if !f(part) {
					return nil
				}
				part = part[:0]
			}
		}
		switch {
		case err == io.EOF || errors.Is(err, fs.ErrClosed):
			if len(part) > 0 { // a last line without its end
				f(part)
			}
			return nil
		case err != nil:
			return p.failure(dataflow.Transient, fmt.Errorf("read what it prints: %w", err), "")
		}
	}
}

// listen follows standard error.
func (p *program) listen() {
	defer close(p.complained)
	counters := map[string]*dataflow.Counter{}
	buf := make([]byte, 4<<10)
	var line []byte
	end := func() {
		text := strings.TrimSuffix(string(line), "\r")
		line = line[:0]
		if err := p.report(text, counters); err != nil && p.stderrErr == nil {
			p.stderrErr = err
			p.strike()
		}
	}
	for {
		n, err := p.stderr.Read(buf)
		for data := buf[:n]; len(data) > 0; {
			piece, rest, whole := bytes.Cut(data, []byte{'\n'})
			data = rest
			line = append(line, piece[:min(len(piece), stderrLineBytes-len(line))]...)
			if whole {
				end()
			}
		}
		if err != nil { // its end, or late
			if len(line) > 0 {
				end()
			}
			return
		}
	}
}

// report takes in one line of standard error.
func (p *program) report(text string, counters map[string]*dataflow.Counter) error {
	if status, ok := strings.CutPrefix(text, "reporter:status:"); ok {
		p.env.Log.Info("status", "text", status)
		return nil
	}
	if what, ok := strings.CutPrefix(text, "reporter:counter:"); ok {
		i := strings.LastIndexByte(what, ',')
		if i > 0 {
			group, name, both := strings.Cut(what[:i], ",")
			n, err := strconv.ParseInt(strings.TrimSpace(what[i+1:]), 10, 64)
			if both && err == nil {
				key := group + "." + name
				c := counters[key]
				if c == nil {
					if len(counters) == reporterMax {
						return p.failure(dataflow.User, fmt.Errorf("it uses more than %d counters, the last one %q", reporterMax, key), "a counter's name must not come from the data")
					}
					c = p.env.Counters.Get(key)
					counters[key] = c
				}
				c.Add(n)
				return nil
			}
		}
		p.env.Log.Warn("no counter: want reporter:counter:group,name,number", "text", text)
	}
	p.env.Log.Info("stderr", "text", text)
	p.last.add(text)
	return nil
}

// A tail is the last lines of many.
type tail struct{ lines []string }

func (t *tail) add(line string) {
	if len(t.lines) == stderrLast {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

// String is the lines, those in the middle left out where they are very long.
func (t *tail) String() string {
	const most = 8 << 10
	text := strings.Join(t.lines, "\n")
	if len(text) > most {
		text = "..." + text[len(text)-most:]
	}
	return text
}
