package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

// Threads is what each contender may use that can be told.
const Threads = 2

// Serve runs queries over the tables in a folder: for a line "N OUT" it runs the job with
// --data, --query N and --out OUT and then answers "ok", or what went wrong; for a line
// "gc" it answers what share of this process's CPU time was garbage collection.
func Serve(ctx context.Context, job func(*df.Job), data string, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() == "gc" {
			if _, err := fmt.Fprintln(out, gcShare()); err != nil {
				return err
			}
			continue
		}
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

// gcShare is the share of the CPU time so far, by the runtime's estimate.
func gcShare() float64 {
	samples := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}}
	runtime.GC() // which brings the estimates up to date
	metrics.Read(samples)
	gc, total, idle := samples[0].Value.Float64(), samples[1].Value.Float64(), samples[2].Value.Float64()
	return gc / (total - idle)
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
	answer, err := s.ask(strconv.Itoa(q) + " " + to)
	if err == nil && answer != "ok" {
		err = errors.New(answer)
	}
	return err
}

// GC asks for the share of CPU time that was garbage collection; only Serve answers.
func (s *Server) GC() (float64, error) {
	answer, err := s.ask("gc")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(answer, 64)
}

func (s *Server) ask(line string) (string, error) {
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		return "", err
	}
	if !s.out.Scan() {
		return "", errors.Join(fmt.Errorf("%s ended", s.cmd.Path), s.out.Err())
	}
	return s.out.Text(), nil
}

// Peak is the most memory, in bytes, that it or the largest process below it has had.
func (s *Server) Peak() (most int64) {
	for _, p := range family(s.cmd.Process.Pid) {
		most = max(most, peakMemory(p.pid))
	}
	return most
}

// Stop ends it.
func (s *Server) Stop() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }
