package tpch

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
	"github.com/divisi-data/divisi/benchmarks/harness"
	df "github.com/divisi-data/divisi/dataflow"
)

// threads is what each contender may use.
const threads = 2

// Serve runs queries over the tables in a folder: for a line "N OUT" it writes the
// result of query N into the folder OUT and then answers "ok", or what went wrong.
func Serve(ctx context.Context, data string, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		n, to, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return fmt.Errorf("a line is %q, not a number and a folder", lines.Text())
		}
		_, err := divisi.Run(ctx, Query, []string{"--data", data, "--query", n, "--out", to}, divisi.Parallelism(threads), divisi.Mode(df.Replace))
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

// A server is a process that answers as Serve does.
type server struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(ctx context.Context, name string, args ...string) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, name, args...)}
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

// run has it run a query.
func (s *server) run(q int, to string) error {
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

func (s *server) peak() int64 {
	if s.cmd.Process == nil {
		return 0
	}
	return harness.Peak(s.cmd.Process.Pid)
}

func (s *server) stop() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }
