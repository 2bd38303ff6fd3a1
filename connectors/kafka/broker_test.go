package kafka

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/services"
)

// place is a running cluster and a plain client of it.
type place struct {
	*services.KafkaCluster
	client *kgo.Client
	admin  *kadm.Client
	topics int
}

func startKafka(t *testing.T, o services.KafkaOptions) *place {
	t.Helper()
	p := &place{KafkaCluster: services.Kafka(t, o)}
	var err error
	if p.client, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(p.Bootstrap, ",")...), kgo.DisableClientMetrics()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.client.Close)
	p.admin = kadm.NewClient(p.client)
	return p
}

// topic makes a topic. Settings are pairs of key and value.
func (p *place) topic(t *testing.T, partitions int32, settings ...string) string {
	t.Helper()
	p.topics++
	name := fmt.Sprintf("%s-%d", strings.Map(func(r rune) rune {
		if validTopic(string(r)) {
			return r
		}
		return '-'
	}, t.Name()), p.topics)
	configs := map[string]*string{}
	for i := 0; i < len(settings); i += 2 {
		configs[settings[i]] = &settings[i+1]
	}
	if _, err := p.admin.CreateTopic(t.Context(), partitions, -1, configs, name); err != nil {
		t.Fatal(err)
	}
	// Brokers learn of a topic one after the other, and of who leads it after that.
	for {
		l, err := p.admin.ListEndOffsets(t.Context(), name)
		if err == nil {
			err = l.Error()
		}
		if err == nil && len(l[name]) == int(partitions) {
			return name
		}
		if t.Context().Err() != nil {
			t.Fatalf("topic %s has no leaders: %v", name, err)
		}
	}
}

func (p *place) uri(topic string, query ...string) string {
	u := Scheme + p.Bootstrap + "/" + topic
	if len(query) > 0 {
		u += "?" + strings.Join(query, "&")
	}
	return u
}

// write produces records with the independent client, each to the partition it
// names; messages of a partition keep their order.
func (p *place) write(t *testing.T, topic string, messages ...kafkago.Message) {
	t.Helper()
	w := &kafkago.Writer{Addr: kafkago.TCP(strings.Split(p.Bootstrap, ",")...), Topic: topic, RequiredAcks: kafkago.RequireAll,
		BatchTimeout: time.Millisecond, BatchSize: 1000, Transport: &kafkago.Transport{},
		Balancer: kafkago.BalancerFunc(func(m kafkago.Message, _ ...int) int { return m.WriterData.(int) })}
	defer func() {
		w.Close()
		w.Transport.(*kafkago.Transport).CloseIdleConnections()
	}()
	var err error
	p.until(t, "the topic is known", func() bool {
		err = w.WriteMessages(t.Context(), messages...)
		return !errors.Is(err, kafkago.UnknownTopicOrPartition)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func message(partition int, key, value string) kafkago.Message {
	return kafkago.Message{Key: []byte(key), Value: []byte(value), WriterData: partition}
}

// read is all records of a topic by the independent client, whatever became of
// their transactions, in order of partition and offset.
func (p *place) read(t *testing.T, topic string) []kafkago.Message {
	t.Helper()
	ends, err := p.admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var all []kafkago.Message
	for _, o := range sortedOffsets(ends[topic]) {
		if o.Offset == 0 {
			continue
		}
		conn, err := kafkago.DialLeader(t.Context(), "tcp", strings.Split(p.Bootstrap, ",")[0], topic, int(o.Partition))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		batch := conn.ReadBatch(1, 10<<20)
		for {
			m, err := batch.ReadMessage()
			if err != nil {
				break
			}
			m.Partition = int(o.Partition)
			all = append(all, m)
		}
		batch.Close()
	}
	return all
}

func sortedOffsets(m map[int32]kadm.ListedOffset) []kadm.ListedOffset {
	var all []kadm.ListedOffset
	for _, o := range m {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b kadm.ListedOffset) int { return cmp.Compare(a.Partition, b.Partition) })
	return all
}

// committed is what a reader of committed records sees, sorted: key and value of
// each. It reads everything, marks too, and decides itself.
func (p *place) committed(t *testing.T, topic string) []string {
	t.Helper()
	var ends, stable kadm.ListedOffsets
	p.until(t, "all brokers answer", func() bool {
		var err1, err2 error
		ends, err1 = p.admin.ListEndOffsets(t.Context(), topic)
		stable, err2 = p.admin.ListCommittedOffsets(t.Context(), topic)
		return errors.Join(err1, err2, ends.Error(), stable.Error()) == nil
	})
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	for _, o := range ends[topic] {
		if o.Offset > 0 {
			left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().At(0)
		}
	}
	rows := []string{}
	if len(left) == 0 {
		return rows
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(p.Bootstrap, ",")...), kgo.DisableClientMetrics(), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	type writer struct {
		partition int32
		id        int64
	}
	open := map[writer][]string{}
	for len(left) > 0 {
		fs := c.PollFetches(t.Context())
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			end, ok := left[r.Partition]
			if !ok || r.Offset >= end {
				return
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
			w, row := writer{r.Partition, r.ProducerID}, fmt.Sprintf("%q=%q", r.Key, r.Value)
			switch {
			case r.Attrs.IsControl():
				if r.Key[3] == 1 { // committed
					rows = append(rows, open[w]...)
				}
				delete(open, w)
			case r.Offset >= stable[topic][r.Partition].Offset:
			case r.Attrs.IsTransactional():
				open[w] = append(open[w], row)
			default:
				rows = append(rows, row)
			}
		})
	}
	slices.Sort(rows)
	return rows
}

// open is the transactions that have not ended.
func (p *place) open(t *testing.T) []string {
	t.Helper()
	var l kadm.ListedTransactions
	p.until(t, "all brokers answer", func() (ok bool) {
		var err error
		l, err = p.admin.ListTransactions(t.Context(), nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
		return err == nil
	})
	return l.TransactionalIDs()
}

// until waits for what a broker does in its own time.
func (p *place) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	a := newAgain(time.Minute)
	for !done() {
		if !a.wait(t.Context()) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// isMark tells the mark of a transaction's end, which the independent client shows
// as a record: its key is a version and a type, of two bytes each.
func isMark(m kafkago.Message) bool { return len(m.Key) == 4 && m.Key[0] == 0 }

func newSource(t *testing.T, a SourceArgs) dataflow.Source {
	t.Helper()
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dataflow.NewSource(Kind, raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newSink(t *testing.T, a SinkArgs) dataflow.Sink {
	t.Helper()
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dataflow.NewSink(Kind, raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func batch(t *testing.T, schema *arrow.Schema, rows string) arrow.RecordBatch {
	t.Helper()
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Release)
	return b
}

// Lines of a source, in the order of its splits.
func lines(t *testing.T, a SourceArgs, hint dataflow.SplitHint) []string {
	t.Helper()
	got, err := tryLines(t, a, hint)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func tryLines(t *testing.T, a SourceArgs, hint dataflow.SplitHint) ([]string, error) {
	t.Helper()
	src := newSource(t, a)
	splits, err := src.Splits(t.Context(), hint)
	if err != nil {
		return nil, err
	}
	got := []string{}
	for _, sp := range splits {
		rows, err := connectortest.ReadSplit(t, src, sp)
		if err != nil {
			return got, err
		}
		got = append(got, rows...)
	}
	return got, nil
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d %.500q, want %d %.500q", what, len(got), got, len(want), want)
	}
}

func TestBroker(t *testing.T) {
	p := startKafka(t, services.KafkaOptions{Secure: true})
	for _, test := range []struct {
		name string
		run  func(*testing.T, *place)
	}{
		{"suite", testSuite}, {"formats", testFormats}, {"bounds", testBounds}, {"aborted", testAborted}, {"compacted", testCompacted},
		{"loss", testLoss}, {"large", testLarge}, {"keys", testKeys}, {"columns", testColumns}, {"transactions", testTransactions}, {"security", testSecurity}, {"job", testJob},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, p) })
	}
}

func testSuite(t *testing.T, p *place) {
	connect := func(format string, batches ...arrow.RecordBatch) connectortest.Connector {
		return connectortest.Connector{
			Batches: batches,
			New: func(t *testing.T) connectortest.Place {
				topic := p.topic(t, 3)
				return connectortest.Place{
					Sink:    newSink(t, SinkArgs{URI: p.uri(topic)}),
					Source:  newSource(t, SourceArgs{URI: p.uri(topic), Format: format}),
					Visible: func() []string { return p.committed(t, topic) },
					Left:    func() []string { return append(p.committed(t, topic), p.open(t)...) },
				}
			},
		}
	}
	t.Run("text", func(t *testing.T) {
		s := schemas[Text]
		connectortest.Run(t, connect(Text, batch(t, s, `[{"line":"a"},{"line":""},{"line":"b c"}]`), batch(t, s, `[{"line":"ä"}]`), batch(t, s, `[{"line":"a"},{"line":"d"}]`)))
	})
	t.Run("raw", func(t *testing.T) {
		s := schemas[Raw]
		connectortest.Run(t, connect(Raw, batch(t, s, `[{"key":"YQ==","value":"MQ=="},{"key":null,"value":"Mg=="},{"key":"","value":""}]`), batch(t, s, `[{"key":"YQ==","value":null}]`)))
	})
}
