package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/dataflow"
)

// stream reads the records of one piece into batches.
type stream struct {
	env     *dataflow.Env
	source  *source
	fetcher *fetcher
	builder *array.RecordBuilder
	rows    rows
	held    int64 // reserved
	base    int64 // of held, for as long as the stream lives
	bad     *dataflow.Counter
	skipped int64

	pending []*kgo.Record // fetched, not yet rows
	offsets []int64       // of the rows of the batch that was returned last
	err     error

	mu    sync.Mutex // guards what other goroutines may ask for
	lost  int64      // before the piece, as its split says
	end   int64      // of what is read here: the rest may have been given away
	taken int64      // offsets below are fetched
	read  dataflow.Progress
}

// unpackMaxMin is how large a batch of records may become that was compressed.
const unpackMaxMin = 128 << 20

func newStream(env *dataflow.Env, s *source, c *cluster, p payload) (*stream, error) {
	st := &stream{env: env, source: s, lost: p.Lost, end: p.Pieces[0].End, taken: p.Pieces[0].Start}
	// A request's answer, and the records made of it.
	base, err := reserve(env.Memory, 2*fetchBytes, 2*fetchBytesMin)
	if err != nil {
		c.Close()
		return nil, err
	}
	st.base, st.held = base, base
	st.fetcher = newFetcher(c, p.Pieces[0], int32(base/2), max(unpackMaxMin, s.args.MaxRecordBytes+1<<20))
	st.fetcher.count = s.args.Policy.DataLoss == "count"
	st.fetcher.lost = env.Counters.Get("kafka.lost_offsets")
	st.fetcher.lost.Add(p.Lost)
	st.bad = env.Counters.Get("kafka.bad_records")
	st.builder = array.NewRecordBuilder(env.Alloc, s.schema)
	rows, err := newRows(s.args.Format, st.builder)
	if err != nil {
		st.Close()
		return nil, userError("kafka.Open", p.Pieces[0].String(), err)
	}
	st.rows = rows
	return st, nil
}

var errClosed = errors.New("the stream is closed")

// Next implements dataflow.Stream.
func (s *stream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.err != nil {
		return nil, s.err
	}
	b, err := s.next(ctx)
	if err != nil {
		s.err = err
	}
	return b, err
}

func (s *stream) next(ctx context.Context) (dataflow.Batch, error) {
	s.offsets = s.offsets[:0]
	var size int64
	for len(s.offsets) < max(1, s.env.BatchRows) && (len(s.offsets) == 0 || size < int64(s.env.BatchBytes)) {
		if len(s.pending) == 0 {
			if len(s.offsets) > 0 && s.fetcher.next >= s.limit() {
				break
			}
			if err := s.fetch(ctx); err != nil {
				return nil, err
			}
			continue
		}
		r := s.pending[0]
		n, more, err := s.add(r)
		if err != nil {
			return nil, err
		}
		for range n {
			s.offsets = append(s.offsets, r.Offset)
		}
		if more {
			continue
		}
		size += int64(len(r.Key) + len(r.Value))
		s.pending = s.pending[1:]
	}
	s.mu.Lock()
	s.read.Rows += int64(len(s.offsets))
	s.mu.Unlock()
	return s.builder.NewRecordBatch(), nil
}

func (s *stream) limit() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.end }

// fetch fills pending, or returns io.EOF at the end of the piece.
func (s *stream) fetch(ctx context.Context) error {
	if s.fetcher.next >= s.limit() {
		return io.EOF
	}
	records, bytes, err := s.fetcher.fetch(ctx)
	if err != nil {
		return err
	}
	// Nobody may give away what is fetched from now on, and what was given away is
	// not delivered here.
	s.mu.Lock()
	s.taken = max(s.taken, min(s.fetcher.next, s.end))
	end := s.end
	s.read.Bytes += bytes
	s.mu.Unlock()
	for i, r := range records {
		if r.Offset >= end {
			records = records[:i]
			break
		}
	}
	s.pending = records
	var size int64
	for _, r := range records {
		size += int64(len(r.Key)+len(r.Value)) + recordBytes
	}
	return s.hold(max(s.base, size))
}

// recordBytes is about what a record takes beside key and value.
const recordBytes = 200

// hold changes what is reserved. What a broker sent cannot be spilled.
func (s *stream) hold(n int64) error {
	if n > s.held {
		if err := s.env.Memory.Reserve(n - s.held); err != nil {
			return err
		}
	} else {
		s.env.Memory.Release(s.held - n)
	}
	s.held = n
	return nil
}

// add makes rows of a record, as many as a batch may still have; more says that
// there are further ones.
func (s *stream) add(r *kgo.Record) (n int, more bool, err error) {
	if size := int64(len(r.Key) + len(r.Value)); size > s.source.args.MaxRecordBytes {
		return 0, false, s.skip(r, fmt.Errorf("%w: %d bytes, may have %d", dataflow.ErrRecordTooLarge, size, s.source.args.MaxRecordBytes))
	}
	n, more, err = s.rows.add(r, max(1, s.env.BatchRows)-len(s.offsets))
	if err != nil {
		shown := fmt.Sprintf("%.256q", r.Value)
		if s.env.Redact {
			shown, err = fmt.Sprintf("%s (%d bytes)", dataflow.Redacted, len(r.Value)), dataflow.RedactError(err)
		}
		return 0, false, s.skip(r, fmt.Errorf("%w: %w: %s", dataflow.ErrMalformed, err, shown))
	}
	return n, more, nil
}

// skip is what the policy makes of a bad record.
func (s *stream) skip(r *kgo.Record, err error) error {
	at := s.place(r.Offset)
	if s.source.args.Policy.Bad != "skip" {
		return userError("kafka.Read", at, err)
	}
	s.bad.Inc()
	if s.skipped++; s.source.args.Policy.Max > 0 && s.skipped > s.source.args.Policy.Max {
		return userError("kafka.Read", at, fmt.Errorf("%d bad records, the policy skips %d in a task; the last: %w", s.skipped, s.source.args.Policy.Max, err))
	}
	if s.env.Log != nil {
		s.env.Log.Warn("skipped a bad record", "at", at, "err", err)
	}
	return nil
}

func (s *stream) place(offset int64) string {
	return s.fetcher.Topic + "[" + strconv.Itoa(int(s.fetcher.Partition)) + "]@" + strconv.FormatInt(offset, 10)
}

// Locate implements dataflow.Locator.
func (s *stream) Locate(row int) string {
	if row < 0 || row >= len(s.offsets) {
		return s.fetcher.piece.String()
	}
	return s.place(s.offsets[row])
}

// Progress implements dataflow.Progresser.
func (s *stream) Progress() dataflow.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.read
	p.Fraction = 1
	if whole := s.end - s.fetcher.Start; whole > 0 {
		p.Fraction = float64(s.taken-s.fetcher.Start) / float64(whole)
	}
	return p
}

// TrySplit implements dataflow.Splitter: the end of the range that is not fetched.
func (s *stream) TrySplit(keep float64) (kept, rest dataflow.Split, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine, give := s.fetcher.piece, s.fetcher.piece
	give.Start = s.taken + int64(float64(s.end-s.taken)*min(1, max(0, keep)))
	give.End = s.end
	if give.Start == s.fetcher.Start {
		give.Start++ // whoever has begun nothing keeps an offset
	}
	if give.Start >= give.End {
		return kept, rest, false
	}
	mine.End = give.Start
	per := float64(guessedBytes)
	if n := s.taken - s.fetcher.Start; n > 0 && s.read.Bytes > 0 {
		per = float64(s.read.Bytes) / float64(n)
	}
	rest, err1 := splitOf(payload{Pieces: []piece{give}}, int64(per*float64(give.End-give.Start)))
	kept, err2 := splitOf(payload{Pieces: []piece{mine}, Lost: s.lost}, int64(per*float64(mine.End-mine.Start)))
	if err1 != nil || err2 != nil {
		return kept, rest, false // cannot be: a piece is plain data
	}
	s.end = give.Start
	return kept, rest, true
}

// Close implements dataflow.Stream.
func (s *stream) Close() error {
	if s.builder == nil {
		return nil
	}
	if s.err == nil {
		s.err = errClosed
	}
	s.builder.Release()
	s.builder, s.pending = nil, nil
	s.fetcher.close()
	s.env.Memory.Release(s.held)
	s.held = 0
	return nil
}

func (f *fetcher) close() {
	f.unpack.close()
	f.Client.Close()
}
