package main

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/internal/services"
)

// brokers are running ones and what a test needs of them.
type brokers struct {
	*services.KafkaCluster
	n      int
	client *kgo.Client // a record goes where it says
	admin  *kadm.Client
}

func startBrokers(t *testing.T, n int) *brokers {
	t.Helper()
	b := &brokers{KafkaCluster: services.Kafka(t, services.KafkaOptions{Brokers: n}), n: n}
	b.client = b.connect(t)
	b.admin = kadm.NewClient(b.client)
	return b
}

func (b *brokers) connect(t *testing.T, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(more, kgo.SeedBrokers(strings.Split(b.Bootstrap, ",")...), kgo.DisableClientMetrics(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (b *brokers) uri(topic string) string { return "kafka://" + b.Bootstrap + "/" + topic }

// topic makes a topic of three partitions.
func (b *brokers) topic(t *testing.T, name string, settings map[string]*string) {
	t.Helper()
	if _, err := b.admin.CreateTopic(t.Context(), 3, -1, settings, name); err != nil {
		t.Fatal(err)
	}
	b.whole(t, name)
}

// set changes a setting of a topic.
func (b *brokers) set(t *testing.T, topic, name, value string) {
	t.Helper()
	if _, err := b.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: name, Value: &value}}, topic); err != nil {
		t.Fatal(err)
	}
}

// whole waits until all replicas of topics, and of the brokers' own, are in sync.
func (b *brokers) whole(t *testing.T, topics ...string) {
	t.Helper()
	eventually(t, "the replicas are in sync", func() bool {
		md, err := b.admin.Metadata(t.Context(), append(topics, "__transaction_state")...)
		if err != nil || len(md.Brokers) < b.n {
			return false
		}
		for name, topic := range md.Topics {
			if name == "__transaction_state" && len(topic.Partitions) == 0 {
				continue // nobody has begun a transaction
			}
			if topic.Err != nil || len(topic.Partitions) == 0 {
				return false
			}
			for _, p := range topic.Partitions {
				if p.Leader < 0 || len(p.ISR) < b.n {
					return false
				}
			}
		}
		return true
	})
}

// open is the transactions of jobs that have not ended.
func (b *brokers) open(t *testing.T) (ids []string) {
	t.Helper()
	eventually(t, "all brokers answer", func() bool {
		l, err := b.admin.ListTransactions(t.Context(), nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
		ids = slices.DeleteFunc(l.TransactionalIDs(), func(id string) bool { return !strings.HasPrefix(id, "divisi:") })
		return err == nil
	})
	return ids
}

// A topicRecord as Kafka's own consumer sees it.
type topicRecord struct{ key, value string }

// read is all of a topic by Kafka's own consumer, in no order. Each key has to be on the
// partition that Kafka's own producer would choose.
func (b *brokers) read(t *testing.T, topic, isolation string) (all []topicRecord) {
	t.Helper()
	out, err := b.Program(t.Context(), "testdata/ReadTopic.java", b.Bootstrap, topic, isolation)
	if err != nil {
		t.Fatal(err)
	}
	astray := 0
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("Kafka's consumer says %q", line)
		}
		if f[0] != f[1] {
			astray++
		}
		all = append(all, topicRecord{f[2], f[3]})
	}
	if astray > 0 {
		t.Errorf("%s: %d of %d records are on other partitions than Kafka's own producer would choose", topic, astray, len(all))
	}
	return all
}

// input fills a topic with keyed lines, in transactions of which every third was aborted,
// and lets the log's cleaner make gaps. It returns what a count of the words is that
// Kafka's own consumer of committed records finds, in order. Brokers clean their logs each
// for itself, so that what the leader has removed another may still have: what another
// record of its key replaces has no words.
func (b *brokers) input(t *testing.T, topic string) []topicRecord {
	t.Helper()
	set := func(v string) *string { return &v }
	b.topic(t, topic, map[string]*string{"cleanup.policy": set("compact"), "min.cleanable.dirty.ratio": set("0.01")})
	const transactions, each = 24, 1250
	random := rand.New(rand.NewPCG(7, 8))
	c := b.connect(t, kgo.TransactionalID("filler"))
	chosen := func(r *kgo.Record) int32 { return int32(kgo.StickyKeyPartitioner(nil).ForTopic(topic).Partition(r, 3)) }
	fill := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			var records []*kgo.Record
			for k := range each {
				var line strings.Builder
				for range 30 {
					fmt.Fprintf(&line, "w%d ", random.IntN(100_000))
				}
				if i < transactions/2 && i%3 != 2 {
					line.Reset()
					line.WriteString("  ")
				}
				if i%3 == 2 {
					line.WriteString("aborted")
				}
				r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, "key ", (i*each+k)%(transactions*each/2)), Value: []byte(line.String())}
				r.Partition = chosen(r)
				records = append(records, r)
			}
			end := kgo.TryCommit
			if i%3 == 2 {
				end = kgo.TryAbort
			}
			if err := errors.Join(c.BeginTransaction(), c.ProduceSync(t.Context(), records...).FirstErr(), c.EndTransaction(t.Context(), end)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(0, transactions-6)
	b.set(t, topic, "segment.ms", "200") // not before: it makes a segment of every few records
	eventually(t, "the cleaner comes", func() bool {
		if err := b.client.ProduceSync(t.Context(), onEach(topic, chosen)...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		return b.stored(t, topic) < transactions*each/2
	})
	// From here on nothing is removed: not what is aborted either, as the cleaner would.
	b.set(t, topic, "cleanup.policy", "delete")
	fill(transactions-6, transactions)
	counts := map[string]int{}
	seen := b.read(t, topic, "read_committed")
	for _, r := range seen {
		for w := range strings.FieldsSeq(r.value) {
			counts[w]++
		}
	}
	uncommitted := len(b.read(t, topic, "read_uncommitted"))
	t.Logf("of %d records there are %d left, of which %d are committed", transactions*each, uncommitted, len(seen))
	if uncommitted <= len(seen) || counts["aborted"] > 0 {
		t.Fatal("there is nothing aborted in the log, or Kafka's consumer reads it")
	}
	var want []topicRecord
	for w, n := range counts {
		want = append(want, topicRecord{w, strconv.Itoa(n)})
	}
	return ordered(want)
}

// onEach is a record for each partition: a segment that is written to is not cleaned.
func onEach(topic string, chosen func(*kgo.Record) int32) (all []*kgo.Record) {
	for n := 0; len(all) < 3; n++ {
		r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, "roll ", n), Value: []byte(" ")}
		if r.Partition = chosen(r); int(r.Partition) == len(all) {
			all = append(all, r)
		}
	}
	return all
}

// stored is how many records the log of a topic holds, whatever became of their
// transactions. The last one of each partition has to be no mark of a transaction.
func (b *brokers) stored(t *testing.T, topic string) (n int) {
	t.Helper()
	ends, err := b.admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	left, from := map[int32]int64{}, map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) { left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().At(0) })
	c := b.connect(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	defer c.Close()
	for len(left) > 0 {
		fetched := c.PollFetches(t.Context())
		if err := fetched.Err(); err != nil {
			t.Fatal(err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			n++
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return n
}

func ordered(r []topicRecord) []topicRecord {
	slices.SortFunc(r, func(a, b topicRecord) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.value, b.value)) })
	return r
}

// holds compares what a reader of committed records finds in a topic, and that no job has
// left a transaction open.
func (b *brokers) holds(t *testing.T, topic string, want []topicRecord) {
	t.Helper()
	if open := b.open(t); len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
	got := ordered(b.read(t, topic, "read_committed"))
	if slices.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s: %d records, want %d; in order, from record %d on %q, want %q", topic, len(got), len(want), at, got[at:min(at+3, len(got))], want[at:min(at+3, len(want))])
}
