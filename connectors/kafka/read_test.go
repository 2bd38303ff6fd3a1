package kafka

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/dataflow"
)

// testBounds reads between all kinds of bounds.
func testBounds(t *testing.T, p *place) {
	topic := p.topic(t, 2)
	at := func(i int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(i)*1000).UTC() }
	var messages []kafkago.Message
	for i := range 20 {
		messages = append(messages, kafkago.Message{WriterData: i % 2, Value: fmt.Appendf(nil, "%d", i), Time: at(i)})
	}
	p.write(t, topic, messages...)
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 1, 4, -1)
	if err := p.admin.CommitAllOffsets(t.Context(), "some-group", offsets); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ query, want string }{
		{"", "0 2 4 6 8 10 12 14 16 18 1 3 5 7 9 11 13 15 17 19"},
		{"from=latest", ""},
		{"to=earliest", ""},
		{"from=offsets:0=8,1=10", "16 18"},
		{"from=offsets:1=7&to=offsets:0=3,1=9", "15 17"},
		{"to=offsets:0=2", "0 2"},
		{"from=" + at(7).Format(time.RFC3339) + "&to=" + at(10).Format(time.RFC3339), "8 7 9"},
		{"from=" + at(7).Add(-time.Millisecond).Format(time.RFC3339Nano) + "&to=" + at(9).In(time.FixedZone("", 3600)).Format(time.RFC3339), "8 7"},
		{"from=" + at(1000).Format(time.RFC3339), ""},
		{"from=" + at(-1000).Format(time.RFC3339) + "&to=" + at(1000).Format(time.RFC3339), "0 2 4 6 8 10 12 14 16 18 1 3 5 7 9 11 13 15 17 19"},
		{"from=group:some-group", "0 2 4 6 8 10 12 14 16 18 9 11 13 15 17 19"},
		{"to=group:some-group", "1 3 5 7"},
	} {
		want := []string{}
		for n := range strings.FieldsSeq(c.want) {
			want = append(want, fmt.Sprintf("%q ", n))
		}
		equal(t, c.query, lines(t, SourceArgs{URI: p.uri(topic, c.query)}, dataflow.SplitHint{}), want)
	}
	for query, want := range map[string]string{
		"from=group:nobody":                "has committed no offset",
		"from=offsets:7=1":                 "partition 7 is named, the topic has 2",
		"from=offsets:0=8&to=offsets:0=11": "topic " + topic + ", partition 0: wanted offsets 8 to 11, the log has 0 to 10",
	} {
		if _, err := tryLines(t, SourceArgs{URI: p.uri(topic, query)}, dataflow.SplitHint{}); err == nil || !strings.Contains(err.Error(), want) || dataflow.KindOf(err) != dataflow.User {
			t.Errorf("%s: %v", query, err)
		}
	}
	if _, err := tryLines(t, SourceArgs{URI: p.uri("no-such-topic")}, dataflow.SplitHint{}); dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "no-such-topic") {
		t.Errorf("a topic that is not there: %v", err)
	}
}

// transaction writes some values to partition 0 and ends as it is told.
func (p *place) transaction(t *testing.T, topic, id string, end kgo.TransactionEndTry, values ...string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(p.Bootstrap, ",")...), kgo.DisableClientMetrics(), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte(v), Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.EndTransaction(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	p.until(t, "the transaction has ended", func() bool { return !slices.Contains(p.open(t), id) })
}

// testAborted reads around transactions that were aborted, at every boundary, and up
// to one that is open.
func testAborted(t *testing.T, p *place) {
	topic := p.topic(t, 1)
	p.transaction(t, topic, "a", kgo.TryAbort, "no-1", "no-2")
	p.write(t, topic, message(0, "", "yes-1"))
	p.transaction(t, topic, "b", kgo.TryCommit, "yes-2", "yes-3")
	p.transaction(t, topic, "a", kgo.TryAbort, "no-3", "no-4", "no-5")
	want := []string{`"yes-1" `, `"yes-2" `, `"yes-3" `}
	for _, hint := range []dataflow.SplitHint{{}, {MaxBytes: 1}, {MaxBytes: 200}} {
		equal(t, fmt.Sprintf("cut by %+v", hint), lines(t, SourceArgs{URI: p.uri(topic)}, hint), want)
	}
	if n := len(p.read(t, topic)); n <= len(want) {
		t.Errorf("the independent client, which reads aborted records too, reads %d", n)
	}
	out, err := p.Tool(t.Context(), "console-consumer", "", "--bootstrap-server", p.Bootstrap, "--topic", topic, "--from-beginning",
		"--isolation-level", "read_committed", "--max-messages", "3")
	if err != nil || out != "yes-1\nyes-2\nyes-3\n" {
		t.Errorf("the console consumer reads %q, %v", out, err)
	}
	// Nothing at all between two marks.
	equal(t, "only aborted", lines(t, SourceArgs{URI: p.uri(topic, "to=offsets:0=3")}, dataflow.SplitHint{}), []string{})

	c, err := kgo.NewClient(kgo.SeedBrokers(p.Bootstrap), kgo.DisableClientMetrics(), kgo.TransactionalID("open"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("not-yet")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	p.write(t, topic, message(0, "", "after"))
	equal(t, "with one open", lines(t, SourceArgs{URI: p.uri(topic)}, dataflow.SplitHint{}), want)
	if err := c.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
}

// testCompacted reads a log from which the cleaner has removed almost everything,
// with ranges that begin and end in its gaps.
func testCompacted(t *testing.T, p *place) {
	topic := p.topic(t, 1, "cleanup.policy", "compact", "segment.bytes", "1048576", "segment.ms", "200", "min.cleanable.dirty.ratio", "0.01", "max.compaction.lag.ms", "200", "delete.retention.ms", "100")
	var messages []kafkago.Message
	for i := range 300 {
		messages = append(messages, message(0, strconv.Itoa(i%3), fmt.Sprintf("v%d", i)))
	}
	p.write(t, topic, messages...)
	src := newSource(t, SourceArgs{URI: p.uri(topic), Format: Record})
	splits, err := src.Splits(t.Context(), dataflow.SplitHint{MaxBytes: 100})
	if err != nil || len(splits) < 10 {
		t.Fatalf("%d splits, %v", len(splits), err)
	}
	var after []kafkago.Message
	p.until(t, "the cleaner comes", func() bool {
		p.write(t, topic, message(0, "roll", "x")) // a segment that is written to is not cleaned
		after = p.read(t, topic)
		return len(after) < 100
	})
	var want, got []string
	for _, m := range after {
		if m.Offset < 300 {
			want = append(want, fmt.Sprintf("%d=%s", m.Offset, m.Value))
		}
	}
	for _, sp := range splits { // planned before the cleaner came
		readWith(t, src, sp, func(*dataflow.Env) {}, func(b dataflow.Batch, _ dataflow.Stream) {
			for i := range int(b.NumRows()) {
				got = append(got, fmt.Sprintf("%s=%s", b.Column(2).ValueStr(i), plainValue(b.Column(5), i)))
			}
		})
	}
	equal(t, "compacted", got, want)
}

func plainValue(arr arrow.Array, i int) string {
	return string(arr.(interface{ Value(int) []byte }).Value(i))
}

// testLoss reads what retention has removed.
func testLoss(t *testing.T, p *place) {
	topic := p.topic(t, 1)
	var messages []kafkago.Message
	for i := range 10 {
		messages = append(messages, message(0, "", strconv.Itoa(i)))
	}
	p.write(t, topic, messages...)
	src := newSource(t, SourceArgs{URI: p.uri(topic)})
	before, err := src.Splits(t.Context(), dataflow.SplitHint{})
	if err != nil {
		t.Fatal(err)
	}
	var gone kadm.Offsets
	gone.AddOffset(topic, 0, 6, -1)
	if _, err := p.admin.DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	check := func(what string, err error, wantStart int64) {
		t.Helper()
		var e *OffsetRangeError
		if !errors.Is(err, ErrOffsetOutOfRange) || !errors.As(err, &e) || dataflow.KindOf(err) != dataflow.User ||
			*e != (OffsetRangeError{topic, 0, wantStart, 10, 6, 10}) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = connectortest.ReadSplit(t, src, before[0])
	check("planned before", err, 0)
	explicit := SourceArgs{URI: p.uri(topic, "from=offsets:0=2")}
	_, err = tryLines(t, explicit, dataflow.SplitHint{})
	check("planned after", err, 2)
	want := []string{`"6" `, `"7" `, `"8" `, `"9" `}
	equal(t, "from the earliest", lines(t, SourceArgs{URI: p.uri(topic)}, dataflow.SplitHint{}), want)

	explicit.Policy.DataLoss = "count"
	counting := newSource(t, explicit)
	after, err := counting.Splits(t.Context(), dataflow.SplitHint{MaxBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		splits []dataflow.Split
		lost   int64
	}{{before, 6}, {after, 4}} {
		var got []string
		var lost int64
		for _, sp := range c.splits {
			var env *dataflow.Env
			got = append(got, readWith(t, counting, sp, func(e *dataflow.Env) { env = e }, nil)...)
			lost += env.Counters.Get("kafka.lost_offsets").Value()
		}
		equal(t, "count", got, want)
		if lost != c.lost {
			t.Errorf("counted %d lost offsets, want %d", lost, c.lost)
		}
	}
	// The topic is another one.
	if _, err := p.admin.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	p.until(t, "the topic is gone", func() bool {
		_, err = connectortest.ReadSplit(t, src, before[0])
		return !errors.Is(err, ErrOffsetOutOfRange) // as long as its log is there
	})
	if !errors.Is(err, ErrTopicChanged) || dataflow.KindOf(err) != dataflow.User {
		t.Errorf("a topic that is gone: %v", err)
	}
	p.until(t, "the topic is gone", func() bool {
		_, err := p.admin.CreateTopic(t.Context(), 1, 1, nil, topic)
		return err == nil
	})
	p.write(t, topic, messages...)
	if _, err := connectortest.ReadSplit(t, src, before[0]); !errors.Is(err, ErrTopicChanged) {
		t.Errorf("a topic that was made anew: %v", err)
	}
}

// testLarge reads records that are larger than what one request asks for, and
// little memory.
func testLarge(t *testing.T, p *place) {
	topic := p.topic(t, 1, "max.message.bytes", "9000000")
	large := strings.Repeat("large ", 500_000) // 3 MB
	w := newSink(t, SinkArgs{URI: p.uri(topic, "config="+p.file(t, "max.request.size=9000000\n")), Options: SinkOptions{Compression: "none"}})
	j := beginJob(t, w, "large")
	var rows []string
	s := schemas[Text]
	for i := range 4 {
		rows = append(rows, fmt.Sprintf(`{"line":"%d"}`, i), fmt.Sprintf(`{"line":"%s%d"}`, large, i))
	}
	b := batch(t, s, "["+strings.Join(rows, ",")+"]")
	j.publish(t, j.seal(t, 0, 0, b))
	src := newSource(t, SourceArgs{URI: p.uri(topic)})
	splits, err := src.Splits(t.Context(), dataflow.SplitHint{})
	if err != nil {
		t.Fatal(err)
	}
	got := readWith(t, src, splits[0], func(e *dataflow.Env) { e.Memory = dataflow.NewMemory("test", 16<<20) }, nil)
	equal(t, "large", got, connectortest.Strings(b))
	if len(splits) != 1 {
		t.Fatalf("%d splits", len(splits))
	}
	env := dataflow.NewEnv(t.Context())
	env.Memory = dataflow.NewMemory("test", 2<<20)
	st, err := src.Open(env, splits[0])
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		var b dataflow.Batch
		if b, err = st.Next(t.Context()); err == nil {
			b.Release()
		}
	}
	if dataflow.KindOf(err) != dataflow.OutOfMemory {
		t.Errorf("in 2 MiB: %v", err)
	}
	st.Close()
	_, err = tryLines(t, SourceArgs{URI: p.uri(topic), MaxRecordBytes: 1 << 20}, dataflow.SplitHint{})
	if !errors.Is(err, dataflow.ErrRecordTooLarge) || !strings.Contains(err.Error(), topic+"[0]@1") {
		t.Errorf("too large: %v", err)
	}
}
