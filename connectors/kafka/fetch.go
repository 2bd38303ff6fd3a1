package kafka

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/divisi-data/divisi/dataflow"
)

const (
	// fetchBytes is how much one request asks for. A broker answers with at least
	// one whole batch of records, however large it is.
	fetchBytes = 1 << 20
	// fetchBytesMin is what is asked for where memory is short.
	fetchBytesMin = 128 << 10
	// fetchWaitMS is how long a broker may wait for data.
	fetchWaitMS = 500
)

// piece is a range of a partition's offsets.
type piece struct {
	Topic     string  `json:"topic"`
	ID        topicID `json:"id"` // one made anew under the same name has another
	Partition int32   `json:"partition"`
	Start     int64   `json:"start"`
	End       int64   `json:"end"` // exclusive
}

// topicID is a topic's own ID; in JSON, base64.
type topicID [16]byte

// MarshalText implements encoding.TextMarshaler.
func (id topicID) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, id[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *topicID) UnmarshalText(text []byte) error {
	raw, err := base64.RawURLEncoding.DecodeString(string(text))
	if err != nil || len(raw) != len(id) {
		return fmt.Errorf("%q is no topic's ID", text)
	}
	copy(id[:], raw)
	return nil
}

func (p piece) String() string {
	return fmt.Sprintf("%s[%d]@%d-%d", p.Topic, p.Partition, p.Start, p.End)
}

// fetcher reads the committed records of a piece, request by request. It follows
// the partition's leader wherever it goes, or reads from a replica in its own rack
// where the leader says so. It is used by one goroutine.
//
// It speaks the protocol itself because only the answer as a whole tells where
// reading goes on: after records that compaction, aborted transactions or
// transactions' marks have left no trace of, the last record that is seen says
// nothing about whether the end of the range was reached.
type fetcher struct {
	*cluster
	piece
	next     int64 // offset of the next request
	maxBytes int32
	unpack   *decompressor
	count    bool              // data loss is counted
	lost     *dataflow.Counter // offsets

	leader, leaderEpoch int32
	replica             int32 // to read from instead of the leader; -1: none
	missing             int   // times in a row that nobody knew the topic
	again               *again
}

// missingMax is how often a topic is not known before it is believed to be gone.
const missingMax = 5

func newFetcher(c *cluster, p piece, maxBytes int32, unpackMax int64) *fetcher {
	return &fetcher{cluster: c, piece: p, next: p.Start, maxBytes: maxBytes, unpack: &decompressor{max: unpackMax},
		leader: -1, replica: -1, again: newAgain(c.patience)}
}

// fetch returns records and how many bytes they came in. There may be none: the
// piece is at its end when next is.
func (f *fetcher) fetch(ctx context.Context) (records []*kgo.Record, bytes int64, err error) {
	for {
		records, bytes, err := f.try(ctx)
		if err == nil {
			f.again.reset()
			return records, bytes, nil
		}
		if !errors.Is(err, errNotYet) {
			f.leader = -1
		}
		if !retriable(ctx, err) && !errors.Is(err, errNotYet) {
			return nil, 0, f.fail(ctx, err)
		}
		if !f.again.wait(ctx) {
			if errors.Is(err, errNotYet) {
				err = f.neverYet(ctx, err)
			}
			return nil, 0, f.fail(ctx, err)
		}
	}
}

// errNotYet: the broker has not caught up with what was there when the job was
// planned, as after a change of leaders.
var errNotYet = errors.New("the broker does not show these records yet")

func (f *fetcher) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	var large *kgo.ErrDecompressTooLarge
	if errors.As(err, &large) {
		err = fmt.Errorf("%w: the batch at offset %d unpacks to more than %d bytes", dataflow.ErrRecordTooLarge, large.Offset, f.unpack.max)
	}
	return wrap("kafka.Read", fmt.Sprintf("%s[%d]@%d", f.Topic, f.Partition, f.next), err)
}

// try makes one request.
func (f *fetcher) try(ctx context.Context) ([]*kgo.Record, int64, error) {
	if f.leader < 0 {
		if err := f.locate(ctx); err != nil {
			return nil, 0, err
		}
	}
	from := f.leader
	if f.replica >= 0 {
		from = f.replica
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchWaitMS, 1, f.maxBytes
	req.IsolationLevel = 1 // committed
	req.SessionEpoch = -1
	req.Rack = f.rack
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	t.Topic, t.TopicID = f.Topic, f.ID
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = f.Partition, f.next, f.maxBytes, f.leaderEpoch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)

	kresp, err := f.Broker(int(from)).Request(ctx, req)
	if err != nil {
		return nil, 0, f.unreachable(from, err)
	}
	resp := kresp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, 0, fmt.Errorf("broker %d answered for %d topics, asked for one", from, len(resp.Topics))
	}
	return f.take(ctx, &resp.Topics[0].Partitions[0])
}

// unreachable forgets a replica that does not answer.
func (f *fetcher) unreachable(from int32, err error) error {
	f.replica = -1
	return fmt.Errorf("broker %d: %w", from, err)
}

// take makes records of an answer and moves next.
func (f *fetcher) take(ctx context.Context, p *kmsg.FetchResponseTopicPartition) ([]*kgo.Record, int64, error) {
	err := kerr.ErrorForCode(p.ErrorCode)
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		if f.replica >= 0 { // which lags behind its leader
			f.replica = -1
			return nil, 0, errNotYet
		}
		return nil, 0, f.outOfRange(ctx)
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		// A broker that has just become leader may not know yet; locate finds out
		// whether the topic is gone.
		f.replica = -1
		return nil, 0, fmt.Errorf("%w (%v)", kerr.NotLeaderForPartition, err)
	case err != nil:
		f.replica = -1
		return nil, 0, err
	}
	if p.PreferredReadReplica >= 0 && p.PreferredReadReplica != f.replica && len(p.RecordBatches) == 0 {
		f.replica = p.PreferredReadReplica
		return nil, 0, nil
	}
	opts := kgo.ProcessFetchPartitionOpts{Offset: f.next, IsolationLevel: kgo.ReadCommitted(), Topic: f.Topic, Partition: f.Partition}
	got, next := kgo.ProcessFetchPartition(opts, p, f.unpack, nil)
	if got.Err != nil && len(got.Records) == 0 {
		if errors.Is(got.Err, kgo.ErrMaxDecompress) {
			return nil, 0, got.Err
		}
		return nil, 0, fmt.Errorf("%w: %w", kerr.CorruptMessage, got.Err)
	}
	switch {
	case next > f.next:
		f.next = next
	case len(p.RecordBatches) > 0: // half a batch, from a broker that cuts them
		if f.maxBytes > 1<<30 {
			return nil, 0, dataflow.ErrRecordTooLarge
		}
		f.maxBytes *= 2
	case p.LastStableOffset >= 0 && p.LastStableOffset <= f.next:
		return nil, 0, errNotYet
	}
	return got.Records, int64(len(p.RecordBatches)), nil
}

// locate asks who leads the partition, and makes sure that it is the same topic.
func (f *fetcher) locate(ctx context.Context) error {
	md, err := kadm.NewClient(f.Client).Metadata(ctx, f.Topic)
	if err != nil {
		return err
	}
	t := md.Topics[f.Topic]
	switch {
	case errors.Is(t.Err, kerr.UnknownTopicOrPartition) && f.missing < missingMax:
		f.missing++ // a broker that has just been started may not know yet
		return kerr.LeaderNotAvailable
	case errors.Is(t.Err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w: it is gone", ErrTopicChanged)
	case t.Err != nil:
		return t.Err
	case topicID(t.ID) != f.ID:
		return fmt.Errorf("%w: it was made anew", ErrTopicChanged)
	}
	p, ok := t.Partitions[f.Partition]
	switch {
	case !ok:
		return kerr.LeaderNotAvailable
	case p.Err != nil && p.Leader < 0:
		return p.Err
	case p.Leader < 0:
		return kerr.LeaderNotAvailable
	}
	f.missing = 0
	f.leader, f.leaderEpoch, f.replica = p.Leader, p.LeaderEpoch, -1
	return nil
}

// outOfRange is what the policy makes of a next that the log does not have.
func (f *fetcher) outOfRange(ctx context.Context) error {
	have, err := logs(ctx, f.cluster)
	if err != nil {
		return err
	}
	l, ok := have[f.Partition]
	if !ok {
		return kerr.LeaderNotAvailable
	}
	if l.start <= f.next && f.next <= l.end {
		return errNotYet // there after all
	}
	if !f.count {
		return &OffsetRangeError{f.Topic, f.Partition, f.next, f.End, l.start, l.end}
	}
	to := f.End // beyond the log's end: nothing of the rest is left
	if f.next < l.start {
		to = min(f.End, l.start)
	}
	f.lost.Add(to - f.next)
	f.next = to
	return nil
}

// neverYet says why records did not show up in time: the log may have lost its end.
func (f *fetcher) neverYet(ctx context.Context, err error) error {
	if have, err := logs(ctx, f.cluster); err == nil {
		if l, ok := have[f.Partition]; ok && l.end < f.End {
			return &OffsetRangeError{f.Topic, f.Partition, f.next, f.End, l.start, l.end}
		}
	}
	return err
}
