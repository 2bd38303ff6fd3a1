package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

const (
	processLineBytes    = 64 << 20 // default bound of a line that a program prints
	processLineBytesMax = 1 << 30
)

func init() {
	register("process", "rows as lines through another program", newProcess)
}

// process writes each row as a line to the standard input of another program and
// gives the lines that the program prints, ended by LF, as rows of one column. It
// keeps to the conventions of Hadoop Streaming: see program for standard error, and
// taskVariables for the environment.
//
// A program that ends well is asked for nothing more: it need not read its input to
// the end. One that ends badly fails the attempt with an error of kind Transient,
// which is tried again. Closing the stream kills the program and its process group.
type process struct {
	// Command is the program and its arguments. A name without a slash is looked for in
	// the working folder and then in PATH.
	Command []string `json:"command"`
	// Columns are those, of type string, whose values make a row's line, one right
	// after the other.
	Columns []int `json:"columns"`
	// Cut changes each line before it is written.
	Cut *processCut `json:"cut,omitempty"`
	// Files are shipped files, to be found in the working folder by their names.
	Files []string `json:"files,omitempty"`
	// Env is NAME=value, in addition to the task's own environment.
	Env []string `json:"env,omitempty"`
	// Phase is "map" or "reduce": what the environment says of the task.
	Phase string `json:"phase,omitempty"`
	// PerFile runs the program anew for each file that a task's rows come from, since a
	// program may ask for the name of the file or count its lines.
	PerFile bool `json:"per_file,omitempty"`
	// AnyExit: the exit status means nothing.
	AnyExit bool `json:"any_exit,omitempty"`
	// MaxLineBytes bounds a line that the program prints.
	MaxLineBytes int64 `json:"max_line_bytes,omitempty"`
}

// processCut makes the first At of a line With; a line without one gets With at its end.
type processCut struct {
	At   string `json:"at"`
	With string `json:"with"`
}

var processSchema = arrow.NewSchema([]arrow.Field{{Name: "value", Type: arrow.BinaryTypes.String}}, nil)

func newProcess(a process) (dataflow.Operator, error) {
	switch {
	case len(a.Command) == 0 || a.Command[0] == "":
		return nil, errors.New("no command is given")
	case a.Phase != "" && a.Phase != "map" && a.Phase != "reduce":
		return nil, fmt.Errorf("phase is %q (have map, reduce)", a.Phase)
	case a.MaxLineBytes < 0 || a.MaxLineBytes > processLineBytesMax:
		return nil, fmt.Errorf("max_line_bytes is %d, may be at most %d", a.MaxLineBytes, processLineBytesMax)
	case a.Cut != nil && a.Cut.At == "":
		return nil, errors.New("a cut needs to know where")
	}
	for _, f := range a.Files {
		if f == "" || f == "." || f == ".." || strings.ContainsAny(f, `/\`) {
			return nil, fmt.Errorf("the name %q of a shipped file has a folder in it, or is none", f)
		}
	}
	for _, e := range a.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return nil, fmt.Errorf("the environment has %q, which is not NAME=value", e)
		}
	}
	if a.MaxLineBytes == 0 {
		a.MaxLineBytes = processLineBytes
	}
	return a, nil
}

// Schema implements dataflow.Operator.
func (p process) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	schema, err := one("process", in)
	if err != nil {
		return nil, err
	}
	if err := checkColumns(schema, p.Columns); err != nil {
		return nil, userError("process", err)
	}
	for _, c := range p.Columns {
		if f := schema.Field(c); f.Type.ID() != arrow.STRING {
			return nil, userError("process", fmt.Errorf("column %q is of type %s: a line is made of strings", f.Name, f.Type))
		}
	}
	return processSchema, nil
}

// Open implements dataflow.Operator. The program is started by the first Next.
func (p process) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &processStream{op: p, env: env, in: in[0]}, nil
}

// processStream reads its input and hands it over, batch by batch, while it waits for
// what the program prints: both on the goroutine of Next. Only the two ends of the
// pipes are on goroutines of the program's own.
type processStream struct {
	final
	op  process
	env *dataflow.Env
	in  dataflow.Stream

	held  dataflow.Batch // read, not yet handed over; nil: none
	from  origin         // of held
	ended bool           // the input has
	ran   bool           // a program has run to its end
	left  string         // the file whose program ended before its input did
	skips bool           // rows of left are not wanted

	program *program // running, or nil
	file    string   // what its rows come from
}

// An origin is where rows come from: a file and the place of the first row in it.
type origin struct {
	file   string
	offset int64
}

// Next implements dataflow.Stream.
func (s *processStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *processStream) step(ctx context.Context) (dataflow.Batch, error) {
	for {
		if err := s.read(ctx); err != nil {
			return nil, err
		}
		if s.program == nil {
			if s.held == nil && s.ran {
				return nil, io.EOF
			}
			p, err := startProgram(s.env, s.op, s.from) // also for no rows at all
			if err != nil {
				return nil, err
			}
			s.program, s.file = p, s.from.file
		}
		b, err := s.exchange(ctx)
		if b != nil || err != nil {
			return b, err
		}
	}
}

// read makes sure that a batch is held, unless there is none.
func (s *processStream) read(ctx context.Context) error {
	for s.held == nil && !s.ended {
		b, err := s.in.Next(ctx)
		if err == io.EOF {
			s.ended = true
			return nil
		}
		if err != nil {
			return err
		}
		from := s.from
		if s.op.Phase == "map" {
			from = locate(s.in)
		}
		if s.skips && (!s.op.PerFile || from.file == s.left) {
			b.Release()
			continue
		}
		s.skips = false
		s.held, s.from = b, from
	}
	return nil
}

// locate takes apart where the last batch's first row is from, where that is a file.
func locate(in dataflow.Stream) origin {
	place := dataflow.Locate(in, 0)
	if i := strings.LastIndexByte(place, ':'); i > 0 {
		if n, err := strconv.ParseInt(place[i+1:], 10, 64); err == nil {
			return origin{place[:i], n}
		}
	}
	return origin{}
}

// exchange hands the held batch over, or takes one, or sees the program end, whatever
// comes first.
func (s *processStream) exchange(ctx context.Context) (dataflow.Batch, error) {
	p := s.program
	var feed chan<- dataflow.Batch
	switch {
	case s.held != nil && (!s.op.PerFile || s.from.file == s.file):
		feed = p.in
	default:
		p.endInput()
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case feed <- s.held:
		s.held = nil
	case b, ok := <-p.out:
		if ok {
			return b, nil
		}
		p.out = nil // printed its last
	case <-p.exited:
		if p.out != nil { // what it printed is to be taken first
			if b, ok := <-p.out; ok {
				return b, nil
			}
		}
		s.program, s.ran = nil, true
		if err := p.end(); err != nil {
			return nil, err
		}
		if feed != nil { // it wants no more
			s.held.Release()
			s.held = nil
			s.left, s.skips = s.file, true
			s.ended = s.ended || !s.op.PerFile
		}
	}
	return nil, nil
}

// Close implements dataflow.Stream.
func (s *processStream) Close() error {
	s.closed()
	if s.held != nil {
		s.held.Release()
		s.held = nil
	}
	var err error
	if s.program != nil {
		err = s.program.kill()
		s.program = nil
	}
	return errors.Join(err, s.in.Close())
}
