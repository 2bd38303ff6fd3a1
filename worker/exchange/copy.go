package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// indexMax bounds the index of an output that is copied, in bytes.
const indexMax = 64 << 20

// Copy implements the service: an output's index, then its data, as they are stored.
func (s *Server) Copy(r *pb.CopyRequest, out pb.Exchange_CopyServer) error {
	t := r.GetTask()
	if err := ValidJob(t.GetJob()); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	id := dataflow.TaskID{Job: t.Job, Stage: int(t.Stage), Index: int(t.Index), Attempt: int(t.Attempt)}
	path := filepath.Join(ShuffleDir(s.Dir, t.Job), shuffle.Name(id))
	f, err := shuffle.OpenFile(path)
	if err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	defer f.Close()
	size := f.Index.Bytes() // the file has as many
	index, data := f.Stored()
	for first := true; first || len(index) > 0; first = false {
		m := &pb.CopyChunk{Index: index[:min(len(index), chunkBytes)]}
		if first {
			m.DataBytes = size
		}
		index = index[len(m.Index):]
		if err := out.Send(m); err != nil {
			return err
		}
	}
	buf := make([]byte, min(size, chunkBytes))
	for size > 0 {
		n, err := io.ReadFull(data, buf[:min(int64(len(buf)), size)])
		if err != nil {
			return status.Error(codes.DataLoss, err.Error())
		}
		size -= int64(n)
		if err := out.Send(&pb.CopyChunk{Data: buf[:n]}); err != nil {
			return err
		}
	}
	return nil
}

// Copy brings a whole output of another worker into a folder and returns how many bytes
// of data it has. What cannot be had whole leaves nothing behind.
func (f *Fetcher) Copy(ctx context.Context, from shuffle.Location, dir string) (bytes int64, err error) {
	output := filepath.Join(dir, shuffle.Name(from.Task))
	if have, err := shuffle.OpenFile(output); err == nil { // asked for twice
		defer have.Close()
		return have.Index.Bytes(), nil
	}
	conn, err := f.conn(from.Address)
	if err != nil {
		return 0, lost(from, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := pb.NewExchangeClient(conn).Copy(ctx, &pb.CopyRequest{
		Task: &pb.TaskID{Job: from.Task.Job, Stage: int32(from.Task.Stage), Index: int32(from.Task.Index), Attempt: int32(from.Task.Attempt)},
	})
	if err != nil {
		return 0, lost(from, err)
	}
	recv := func() (*pb.CopyChunk, error) {
		late := timeOut(f.cfg.Stall, cancel)
		defer late.Stop()
		m, err := stream.Recv()
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		return m, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	data, err := os.Create(shuffle.DataPath(output) + ".tmp")
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, data.Close())
		if err == nil {
			err = os.Rename(data.Name(), shuffle.DataPath(output))
		}
		if err == nil {
			err = os.Rename(shuffle.IndexPath(output)+".tmp", shuffle.IndexPath(output))
		}
		if err == nil {
			var whole *shuffle.File
			if whole, err = shuffle.OpenFile(output); err == nil {
				err = whole.Close()
			}
		}
		if err != nil {
			os.Remove(data.Name())
			os.Remove(shuffle.IndexPath(output) + ".tmp")
			shuffle.Remove(output)
		}
	}()
	var index []byte
	want, got := int64(-1), int64(0)
	for {
		m, err := recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, lost(from, err)
		}
		if want < 0 {
			want = m.DataBytes
		}
		if index = append(index, m.Index...); len(index) > indexMax {
			return 0, lost(from, fmt.Errorf("an index of more than %d bytes", indexMax))
		}
		if got += int64(len(m.Data)); got > want {
			return 0, lost(from, fmt.Errorf("more than the %d bytes that were announced", want))
		}
		if _, err := data.Write(m.Data); err != nil {
			return 0, err
		}
	}
	if got != want {
		return 0, lost(from, fmt.Errorf("%d bytes came of %d", got, want))
	}
	return got, os.WriteFile(shuffle.IndexPath(output)+".tmp", index, 0o600)
}
