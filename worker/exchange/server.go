package exchange

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	"github.com/divisi-data/divisi/internal/security"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

const (
	// chunkBytes is how much one message carries.
	chunkBytes = 512 << 10
	// tasksMax bounds a request.
	tasksMax = 10_000
	// followEvery is how often a log that is followed is looked at.
	followEvery = 200 * time.Millisecond
)

// ShuffleDir is where a job's outputs lie below a worker's folder.
func ShuffleDir(dir, job string) string { return filepath.Join(JobDir(dir, job), "shuffle") }

// JobDir is all that a worker keeps of a job but its logs.
func JobDir(dir, job string) string { return filepath.Join(dir, "jobs", job) }

// LogDir is where a job's logs lie below a worker's folder.
func LogDir(dir, job string) string { return filepath.Join(dir, "logs", job) }

// HostLog is what the log of a job's n-th host is called, from 1.
func HostLog(n int) string { return fmt.Sprintf("host-%d.log", n) }

// ValidJob refuses what is no job's id but a path.
func ValidJob(job string) error {
	if job == "" || job != filepath.Base(job) || strings.HasPrefix(job, ".") || len(job) > 200 {
		return fmt.Errorf("%q is no job's id", job)
	}
	return nil
}

// Server serves a worker's folder.
type Server struct {
	pb.UnimplementedExchangeServer
	Dir string
	// Live reports whether an attempt has not ended yet, so that its log may grow. Nil:
	// none has.
	Live func(*pb.TaskID) bool

	known shuffle.Indexes // of the outputs that were asked for
}

// Fetch implements the service.
func (s *Server) Fetch(r *pb.FetchRequest, out pb.Exchange_FetchServer) error {
	if err := ValidJob(r.Job); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if err := security.MayRead(out.Context(), r.Job); err != nil {
		return err
	}
	if len(r.Tasks) > tasksMax {
		return status.Errorf(codes.InvalidArgument, "%d outputs in one request, at most %d", len(r.Tasks), tasksMax)
	}
	dir := ShuffleDir(s.Dir, r.Job)
	var buf []byte
	for i, t := range r.Tasks {
		id := dataflow.TaskID{Job: r.Job, Stage: int(t.Stage), Index: int(t.Index), Attempt: int(t.Attempt)}
		if err := s.send(out, int32(i), filepath.Join(dir, shuffle.Name(id)), int(r.PartitionLo), int(r.PartitionHi), &buf); err != nil {
			return err
		}
	}
	return nil
}

// send sends one output's range, by way of buf, which grows to what is needed. What is wrong with the output is part of the answer;
// an error ends the call.
func (s *Server) send(out pb.Exchange_FetchServer, i int32, path string, lo, hi int, buf *[]byte) error {
	f, err := s.known.OpenFile(path)
	if err != nil {
		return out.Send(&pb.FetchChunk{Task: i, Lost: err.Error()})
	}
	defer f.Close()
	r, size, err := f.Range(lo, hi)
	if err != nil {
		return out.Send(&pb.FetchChunk{Task: i, Lost: err.Error()})
	}
	if n := min(size, chunkBytes); int64(len(*buf)) < n {
		*buf = make([]byte, n)
	}
	first := true
	for size > 0 || first {
		n, err := io.ReadFull(r, (*buf)[:min(int64(len(*buf)), size)])
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
			return status.Errorf(codes.DataLoss, "%s: %v", path, err)
		}
		c := &pb.FetchChunk{Task: i, Data: (*buf)[:n]}
		if first {
			c.Bytes, first = size, false
		}
		if err := out.Send(c); err != nil {
			return err
		}
		size -= int64(n)
		if n == 0 {
			break
		}
	}
	return nil
}

// ReadLog implements the service.
func (s *Server) ReadLog(r *pb.ReadLogRequest, out pb.Exchange_ReadLogServer) error {
	job := r.Task.GetJob()
	if err := ValidJob(job); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if r.Task.Attempt < 0 {
		return s.sendHostLogs(out, LogDir(s.Dir, job), r.Offset)
	}
	return s.sendAttemptLog(r, out, shuffle.Name(dataflow.TaskID{Job: job, Stage: int(r.Task.Stage), Index: int(r.Task.Index), Attempt: int(r.Task.Attempt)}))
}

// sendAttemptLog sends an attempt's log from its own file or from where those of quiet
// attempts are. One that lives and has not said anything yet has neither.
func (s *Server) sendAttemptLog(r *pb.ReadLogRequest, out pb.Exchange_ReadLogServer, attempt string) error {
	dir := LogDir(s.Dir, r.Task.Job)
	own := filepath.Join(dir, attempt+".log")
	live := func() bool { return s.Live != nil && s.Live(r.Task) }
	for over := false; ; {
		if _, err := os.Stat(own); err == nil {
			return sendLog(out, own, r.Offset, func() bool { return r.Follow && live() })
		}
		lines, err := quietLines(dir, attempt)
		switch {
		case err != nil:
			return status.Error(codes.Internal, err.Error())
		case lines != nil:
			return sendBytes(out, lines, r.Offset)
		case over:
			return status.Errorf(codes.NotFound, "%s: no such log here", filepath.Base(own))
		}
		if over = !live(); over {
			continue // it may have ended, and left its log, since that was looked for
		}
		if !r.Follow {
			return nil
		}
		select {
		case <-out.Context().Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

// sendBytes is sendLog of a log that is in memory.
func sendBytes(out pb.Exchange_ReadLogServer, log []byte, offset int64) error {
	if offset < 0 {
		offset += int64(len(log))
	}
	log = log[min(max(offset, 0), int64(len(log))):]
	if len(log) == 0 {
		return nil
	}
	return out.Send(&pb.Chunk{Data: log})
}

// sendHostLogs sends the logs of all hosts that the job has had here, one after the
// other.
func (s *Server) sendHostLogs(out pb.Exchange_ReadLogServer, dir string, offset int64) error {
	for n := 1; ; n++ {
		name := filepath.Join(dir, HostLog(n))
		if _, err := os.Stat(name); n > 1 && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := sendLog(out, name, offset, func() bool { return false }); err != nil {
			return err
		}
	}
}

// sendLog sends a log from offset on, and what is added to it while grows says so.
func sendLog(out pb.Exchange_ReadLogServer, name string, offset int64, grows func() bool) error {
	f, err := os.Open(name)
	if err != nil {
		return status.Errorf(codes.NotFound, "%s: no such log here", filepath.Base(name))
	}
	defer f.Close()
	if offset < 0 {
		info, err := f.Stat()
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		offset = max(info.Size()+offset, 0)
	}
	buf := make([]byte, 64<<10)
	for {
		more := grows() // asked first: what is written until now is read below
		n, err := f.ReadAt(buf, offset)
		if n > 0 {
			if err := out.Send(&pb.Chunk{Data: buf[:n]}); err != nil {
				return err
			}
			offset += int64(n)
			continue
		}
		if err != nil && err != io.EOF {
			return status.Error(codes.Internal, err.Error())
		}
		if !more {
			return nil
		}
		select {
		case <-out.Context().Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}
