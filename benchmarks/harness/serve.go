package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

// Threads is what each contender may use that can be told.
const Threads = 2

// Serve runs queries over the tables in a folder: for a line "N OUT" it runs the job with
// --data, --query N and --out OUT and then answers "ok", or what went wrong.
func Serve(ctx context.Context, job func(*df.Job), data string, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		n, to, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return fmt.Errorf("a line is %q, not a number and a folder", lines.Text())
		}
		_, err := divisi.Run(ctx, job, []string{"--data", data, "--query", n, "--out", to}, divisi.Parallelism(Threads), divisi.Mode(df.Replace))
		answer := "ok"
		if err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// A Server is a process that answers as Serve does. What is timed of it is from asking
// for a query until its result is there, without the start of a process.
type Server struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// StartServer starts one.
func StartServer(ctx context.Context, name string, args ...string) (*Server, error) {
	s := &Server{cmd: exec.CommandContext(ctx, name, args...)}
	s.cmd.Stderr = os.Stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewScanner(out)
	return s, s.cmd.Start()
}

// Run has it run a query, whose result goes into the folder to.
func (s *Server) Run(q int, to string) error {
	if _, err := fmt.Fprintln(s.in, strconv.Itoa(q)+" "+to); err != nil {
		return err
	}
	if !s.out.Scan() {
		return errors.Join(fmt.Errorf("%s ended", s.cmd.Path), s.out.Err())
	}
	if answer := s.out.Text(); answer != "ok" {
		return errors.New(answer)
	}
	return nil
}

// Peak is the most memory that it has had, in bytes; 0 if it was never started.
func (s *Server) Peak() int64 {
	if s.cmd == nil {
		return 0
	}
	return Peak(s.cmd.Process.Pid)
}

// Stop ends it.
func (s *Server) Stop() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }
