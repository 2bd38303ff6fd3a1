package task

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

const (
	splitsPerMessage = 1000
	logTailBytes     = 8 << 10
)

// chunked cuts a result with many splits into several messages.
func chunked(r *pb.TaskResult) []*pb.TaskResult {
	var out []*pb.TaskResult
	for len(r.Splits) > splitsPerMessage {
		out = append(out, &pb.TaskResult{Id: r.Id, Kind: r.Kind, Splits: r.Splits[:splitsPerMessage], More: true})
		r.Splits = r.Splits[splitsPerMessage:]
	}
	return append(out, r)
}

// failure is what the coordinator is told of an error.
func (a *attempt) failure(err error) *pb.TaskFailure {
	kind := dataflow.KindOf(err)
	f := &pb.TaskFailure{Id: a.spec.Id, TaskKind: a.spec.Kind, Message: err.Error(), ErrorNames: dataflow.ErrorNames(err)}
	var p *panicError
	if errors.As(err, &p) {
		kind, f.Stack = dataflow.User, p.stack
	}
	var lost *shuffle.LostError
	if errors.As(err, &lost) {
		for _, l := range lost.Locations {
			f.LostInputs = append(f.LostInputs, protoID(l.Task))
			f.LostAt = append(f.LostAt, l.Address)
		}
		f.Corrupt = kind == dataflow.Corrupt
		kind = dataflow.InputLost
	}
	f.ErrorKind = int32(kind)
	if a.log != nil {
		f.LogTail = a.log.tail(logTailBytes)
	}
	f.Stats = a.stats(nil)
	return f
}

// tail is the end of a file, in whole lines where it can be.
func tail(name string, n int64) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(info.Size()-n, 0)
	b := make([]byte, info.Size()-from)
	m, _ := f.ReadAt(b, from)
	return wholeLines(b[:m], from > 0)
}

// wholeLines is text whose first line, if it was cut, is left out where there is another.
func wholeLines(b []byte, cut bool) string {
	if i := bytes.IndexByte(b, '\n'); cut && i >= 0 {
		b = b[i+1:]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// stats is what the attempt has done so far; in is nil where it read nothing.
func (a *attempt) stats(in *inputs) *pb.TaskStats {
	s := &pb.TaskStats{
		RowsIn: a.rowsIn.Load(), BytesIn: a.read(), RowsOut: a.rowsOut.Load(), BytesSpilled: a.spilled.Load(),
		WallNanos: int64(time.Since(a.started)), HostRssBytes: a.host.memory.rssMax.Load(),
	}
	if a.memory != nil {
		s.PeakMemoryBytes = a.memory.Peak()
	}
	if in != nil {
		s.BytesFetchedLocal, s.BytesFetchedRemote = in.local.Load(), in.remote.Load()
		s.FetchWaitNanos = in.wait.Load()
		s.BytesIn += s.BytesFetchedLocal + s.BytesFetchedRemote
	}
	return s
}

// opStats is what the stage's operators did.
func opStats(m *plan.Meter) []*pb.OpStats {
	var all []*pb.OpStats
	for _, o := range m.Stats() {
		all = append(all, &pb.OpStats{Rows: o.Rows, Bytes: o.Bytes, Nanos: o.Nanos, BytesSpilled: o.Spilled, PeakMemoryBytes: o.PeakMemory})
	}
	return all
}

// read is how many bytes of the source have been read.
func (a *attempt) read() int64 {
	n := a.bytesIn.Load()
	if p := a.split.Load(); p != nil {
		n += (*p).Progress().Bytes
	}
	return n
}

// progress is the attempt's line in the host's report.
func (a *attempt) progress() *pb.TaskProgress {
	p := &pb.TaskProgress{
		Id: proto.CloneOf(a.spec.Id), RowsIn: a.rowsIn.Load(), BytesIn: a.read(), RowsOut: a.rowsOut.Load(),
		BytesOut: a.bytesOut.Load(), BytesSpilled: a.spilled.Load(),
		IdleNanos: int64(time.Since(a.started)) - a.movedAt.Load(), ElapsedNanos: int64(time.Since(a.started)),
	}
	p.Steps = a.steps.Load()
	if in := a.in.Load(); in != nil {
		p.BytesIn += in.local.Load() + in.remote.Load()
		p.FetchWaitNanos = in.wait.Load()
	}
	if s := a.split.Load(); s != nil {
		p.Fraction = (*s).Progress().Fraction
	}
	return p
}
