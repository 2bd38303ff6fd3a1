package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/divisi-data/divisi/dataflow"
)

func init() {
	dataflow.RegisterSink(dataflow.SinkKind{
		Kind:    Kind,
		Summary: "a topic, in transactions that the job's commit commits",
		Build: func(args []byte) (dataflow.Sink, error) {
			var a SinkArgs
			if err := decodeArgs("kafka.Sink", args, &a); err != nil {
				return nil, err
			}
			return NewSink(a)
		},
	})
}

// NewSink makes a sink from its arguments; wrong ones are an error of kind User. No
// server is asked yet.
func NewSink(a SinkArgs) (dataflow.Sink, error) {
	s := &sink{options: a.Options}
	if err := s.init(a.URI); err != nil {
		return nil, userError("kafka.Sink", "", err)
	}
	return s, nil
}

type sink struct {
	address address
	options SinkOptions
}

var _ dataflow.Sink = (*sink)(nil)

func (s *sink) init(uri string) (err error) {
	if s.address, err = parseAddress(uri); err != nil {
		return err
	}
	if s.address.from.kind != earliest || s.address.to.kind != latest {
		return fmt.Errorf("%q: from and to are for reading", uri)
	}
	if err := oneOf("format", s.options.Format, "", JSON); err != nil {
		return err
	}
	if _, err := codec(s.options.Compression); err != nil {
		return err
	}
	if s.options.TransactionTimeoutMS < 0 || s.options.TransactionTimeoutMS > math.MaxInt32 {
		return fmt.Errorf("transaction_timeout_ms is %d", s.options.TransactionTimeoutMS)
	}
	if s.options.Delivery == "" {
		s.options.Delivery = transactional
	}
	return oneOf("delivery", s.options.Delivery, transactional, idempotent)
}

// prepared is what Prepare tells attempts and Publish.
type prepared struct {
	TimeoutMS int64 `json:"timeout_ms"`
	// EndTxn is the newest version of the request that ends a transaction which the
	// cluster's transactions allow.
	EndTxn int16 `json:"end_txn"`
}

// Prepare implements dataflow.Sink. A topic is a log: a job adds to what is there,
// in the modes fail and append alike; a topic cannot be replaced.
func (s *sink) Prepare(ctx context.Context, c dataflow.Commit) ([]byte, error) {
	const op = "kafka.Prepare"
	switch c.Mode {
	case dataflow.Fail, dataflow.Append, "":
	case dataflow.Replace:
		return nil, &dataflow.Error{Op: op, Path: s.address.path(), Kind: dataflow.User, Err: dataflow.Mark(errors.New("a topic cannot be replaced"), errors.ErrUnsupported),
			Try: "write to a new topic, or add to this one with --mode append"}
	default:
		return nil, userError(op, s.address.path(), fmt.Errorf("mode is %q (have fail, append, replace)", c.Mode))
	}
	cl, err := s.address.connect(op, nil)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	wanted, err := s.timeout(cl.properties)
	if err != nil {
		return nil, userError(op, cl.path(), err)
	}
	p, err := steadily(ctx, cl, func() (prepared, error) {
		md, err := kadm.NewClient(cl.Client).Metadata(ctx, cl.topic)
		if err != nil {
			return prepared{}, err
		}
		if err := md.Topics[cl.topic].Err; err != nil {
			return prepared{}, err
		}
		if s.options.Delivery == idempotent {
			return prepared{}, nil
		}
		return cl.transactions(ctx, md.Brokers.NodeIDs())
	})
	if err != nil {
		return nil, planning(op, cl.path(), err)
	}
	switch most := p.TimeoutMS; {
	case s.options.Delivery == idempotent:
	case wanted > most:
		return nil, &dataflow.Error{Op: op, Path: cl.path(), Kind: dataflow.User,
			Err: dataflow.Mark(fmt.Errorf("a transaction time-out of %v is asked for, the brokers allow %v (transaction.max.timeout.ms)", millis(wanted), millis(most)), fs.ErrInvalid),
			Try: "ask for less, or raise transaction.max.timeout.ms"}
	case wanted > 0:
		p.TimeoutMS = wanted
	}
	return json.Marshal(p)
}

// timeout is what is asked for in milliseconds; 0: the longest allowed.
func (s *sink) timeout(p properties) (int64, error) {
	if s.options.TransactionTimeoutMS > 0 {
		return s.options.TransactionTimeoutMS, nil
	}
	return p.int("transaction.timeout.ms", 0)
}

// defaultMaxTimeoutMS is transaction.max.timeout.ms unless a broker's settings say
// otherwise; it is believed where a client may not ask.
const defaultMaxTimeoutMS = 15 * 60 * 1000

// transactions asks what all brokers allow.
func (c *cluster) transactions(ctx context.Context, brokers []int32) (prepared, error) {
	p := prepared{TimeoutMS: math.MaxInt32, EndTxn: 4}
	configs, err := kadm.NewClient(c.Client).DescribeBrokerConfigs(ctx, brokers...)
	if err != nil {
		return p, err
	}
	for _, r := range configs {
		most := int64(defaultMaxTimeoutMS)
		if r.Err != nil && !isUnauthorized(r.Err) {
			return p, r.Err
		}
		for _, k := range r.Configs {
			if k.Key == "transaction.max.timeout.ms" && k.Value != nil {
				if most, err = strconv.ParseInt(*k.Value, 10, 64); err != nil {
					return p, fmt.Errorf("%s is %q", k.Key, *k.Value)
				}
			}
		}
		p.TimeoutMS = min(p.TimeoutMS, most)
	}
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c.Client)
	if err != nil {
		return p, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" && f.MaxVersionLevel >= 2 {
			p.EndTxn = 5
		}
	}
	return p, nil
}

func isUnauthorized(err error) bool {
	return err == kerr.ClusterAuthorizationFailed || err == kerr.TopicAuthorizationFailed
}

// versions keeps a client to the transactions that Prepare found: an attempt and
// the publish step, in different processes, must speak alike.
func (p prepared) versions() kgo.Opt {
	v := kversion.Stable()
	if p.EndTxn > 0 {
		v.SetMaxKeyVersion(int16(kmsg.EndTxn), p.EndTxn)
	}
	return kgo.MaxVersions(v)
}

func decodePrepared(c dataflow.Commit, op, path string) (p prepared, err error) {
	if err := json.Unmarshal(c.Prepared, &p); err != nil {
		return p, &dataflow.Error{Op: op, Path: path, Kind: dataflow.Fatal, Err: fmt.Errorf("what Prepare said: %w", err)}
	}
	return p, nil
}

// transactionPrefix begins the transactional ids of all attempts of a job at a
// topic.
func (s *sink) transactionPrefix(job string) string {
	return "divisi:" + url.QueryEscape(job) + ":" + s.address.topic + ":"
}

// transactionID names an attempt's transaction.
func (s *sink) transactionID(env *dataflow.Env) string {
	t := env.Task
	return s.transactionPrefix(env.Output.Commit.Job) + fmt.Sprintf("%d:%d:%d", t.Stage, env.Output.Part, t.Attempt)
}

// codec is a compression by name.
func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none", "uncompressed":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4", "":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("compression is %q (have none, gzip, snappy, lz4, zstd)", name)
}

// deliverWithin is how long an attempt goes on when the brokers take none of its
// records; the properties' delivery.timeout.ms says otherwise.
const deliverWithin = 2 * time.Minute

// producer is the client's options for one attempt.
func (s *sink) producer(p properties, prep prepared, transaction string, bufferBytes int64) ([]kgo.Opt, error) {
	name := s.options.Compression
	if name == "" {
		name = p["compression.type"]
	}
	compression, err := codec(name)
	if err != nil {
		return nil, err
	}
	// Java's default, unless the properties say otherwise.
	batch, err := p.int("max.request.size", 1<<20)
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		prep.versions(),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(compression, kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(min(batch, 1<<30))),
		kgo.MaxBufferedBytes(int(bufferBytes)), kgo.MaxBufferedRecords(1 << 16),
		kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}),
		kgo.UnknownTopicRetries(4),
		kgo.ProducerLinger(5 * time.Millisecond),
	}
	if batch+1<<20 > 100<<20 {
		opts = append(opts, kgo.BrokerMaxWriteBytes(int32(min(batch+1<<20, 1<<30))))
	}
	if transaction != "" {
		opts = append(opts, kgo.TransactionalID(transaction), kgo.TransactionTimeout(millis(prep.TimeoutMS)))
	}
	return opts, nil
}

// partitioner sends a record to the partition it names, or where Java's default
// partitioner would: by the murmur2 hash of its key, or, without one, to one
// partition after the other.
type partitioner struct{ kgo.Partitioner }

// anyPartition is the partition of a record that names none.
const anyPartition = -1

// ForTopic implements kgo.Partitioner.
func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return topicPartitioner{p.Partitioner.ForTopic(topic)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

// RequiresConsistency implements kgo.TopicPartitioner.
func (p topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.TopicPartitioner.RequiresConsistency(r)
}

// Partition implements kgo.TopicPartitioner.
func (p topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition) // the client refuses one that is not there
	}
	return p.TopicPartitioner.Partition(r, n)
}

// OnNewBatch implements kgo.TopicPartitionerOnNewBatch.
func (p topicPartitioner) OnNewBatch() {
	if n, ok := p.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		n.OnNewBatch()
	}
}
