package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/dataflow"
)

// testFormats reads what the independent client wrote, in every format, cut and
// batched in odd ways.
func testFormats(t *testing.T, p *place) {
	topic := p.topic(t, 3)
	var messages []kafkago.Message
	text := map[int][]string{}
	var raw, record []string
	start := time.UnixMilli(1_700_000_000_000).UTC()
	for i := range 500 {
		part := i * i % 2 // partition 2 stays empty, 1 has fewer
		m := kafkago.Message{WriterData: part, Partition: part, Offset: int64(len(text[part+10])), Time: start.Add(time.Duration(i) * time.Second)}
		text[part+10] = append(text[part+10], "")
		if i%3 > 0 {
			m.Key = []byte(strconv.Itoa(i))
		}
		switch i % 5 {
		case 0: // a tombstone
		case 1:
			m.Value = []byte{}
			text[part] = append(text[part], `"" `)
		case 2:
			m.Value = fmt.Appendf(nil, "x%d\ny\r\n\nz\n", i)
			text[part] = append(text[part], fmt.Sprintf(`"x%d" `, i), `"y" `, `"" `, `"z" `)
		default:
			m.Value = fmt.Appendf(nil, "v%d", i)
			text[part] = append(text[part], fmt.Sprintf(`"v%d" `, i))
		}
		if i%7 == 0 {
			m.Headers = []kafkago.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}}
		}
		messages = append(messages, m)
		raw = append(raw, cell64(m.Key)+cell64(m.Value))
		headers := "[]"
		if m.Headers != nil {
			headers = `[{"key":"h","value":"MQ=="},{"key":"h","value":"Mg=="}]`
		}
		record = append(record, fmt.Sprintf("%q %q %q %q %s%s%q ", topic, strconv.Itoa(part), strconv.FormatInt(m.Offset, 10),
			m.Time.Format("2006-01-02T15:04:05Z"), cell64(m.Key), cell64(m.Value), headers))
	}
	p.write(t, topic, messages...)
	want := slices.Concat(text[0], text[1])
	for _, hint := range []dataflow.SplitHint{{}, {MaxBytes: 1}, {MaxBytes: 700, Slots: 3}} {
		equal(t, fmt.Sprintf("text cut by %+v", hint), lines(t, SourceArgs{URI: p.uri(topic)}, hint), want)
	}
	// kafka-go writes in order, so the records of a partition are as expected.
	got := lines(t, SourceArgs{URI: p.uri(topic), Format: Raw}, dataflow.SplitHint{MaxBytes: 3000})
	slices.Sort(got)
	slices.Sort(raw)
	equal(t, "raw", got, raw)
	got = lines(t, SourceArgs{URI: p.uri(topic), Format: Record}, dataflow.SplitHint{MaxBytes: 3000})
	slices.Sort(got)
	slices.Sort(record)
	equal(t, "record", got, record)

	out, err := p.Tool(t.Context(), "console-consumer", "", "--bootstrap-server", p.Bootstrap, "--topic", topic, "--partition", "0", "--from-beginning",
		"--max-messages", strconv.Itoa(len(text[10])), "--formatter-property", "print.value=true")
	if err != nil {
		t.Fatal(err)
	}
	var console []string
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\n"), "\n") {
		if line != "null" { // so it prints a tombstone
			console = append(console, fmt.Sprintf("%q ", strings.TrimSuffix(line, "\r")))
		}
	}
	// A value that ends with a line's end is printed with one more.
	var lines0 []string
	for _, l := range text[0] {
		lines0 = append(lines0, l)
		if l == `"z" ` {
			lines0 = append(lines0, `"" `)
		}
	}
	equal(t, "console", console, lines0)

	t.Run("batches", func(t *testing.T) { testBatches(t, p, topic, want) })
	t.Run("json", func(t *testing.T) { testJSON(t, p) })
}

func cell64(b []byte) string {
	if b == nil {
		return "null "
	}
	a := batch64(b)
	defer a.Release()
	return fmt.Sprintf("%q ", a.Column(0).ValueStr(0))
}

// testBatches reads with odd batch sizes, stops early, gives halves away.
func testBatches(t *testing.T, p *place, topic string, want []string) {
	src := newSource(t, SourceArgs{URI: p.uri(topic)})
	splits, err := src.Splits(t.Context(), dataflow.SplitHint{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{1, 2, 3, 1000} {
		var got []string
		for _, sp := range splits {
			got = append(got, readWith(t, src, sp, func(env *dataflow.Env) { env.BatchRows = rows }, func(b dataflow.Batch, s dataflow.Stream) {
				if int(b.NumRows()) > rows {
					t.Errorf("a batch of %d rows, want at most %d", b.NumRows(), rows)
				}
			})...)
		}
		equal(t, fmt.Sprintf("batches of %d", rows), got, want)
	}
	// Bytes bound a batch too.
	most := 0
	readWith(t, src, splits[0], func(env *dataflow.Env) { env.BatchBytes = 10 }, func(b dataflow.Batch, _ dataflow.Stream) { most = max(most, int(b.NumRows())) })
	if most > 20 {
		t.Errorf("a batch of %d rows for 10 bytes", most)
	}
	// Whoever gives a part of its range away reads the rest.
	for _, keep := range []float64{0, 0.5, 1} {
		var got []string
		todo := slices.Clone(splits)
		gave := 0
		for len(todo) > 0 {
			sp := todo[0]
			todo = todo[1:]
			env := dataflow.NewEnv(t.Context())
			s, err := src.Open(env, sp)
			if err != nil {
				t.Fatal(err)
			}
			if rest, ok := s.(dataflow.Splitter).TrySplit(keep); ok {
				gave++
				todo = slices.Insert(todo, 0, rest)
			}
			got = append(got, drain(t, s, nil)...)
			if f := s.(dataflow.Progresser).Progress(); f.Fraction != 1 {
				t.Errorf("at the end of %s the progress is %+v", sp.ID, f)
			}
			if _, ok := s.(dataflow.Splitter).TrySplit(0.5); ok {
				t.Error("gave away what was read")
			}
			s.Close()
		}
		equal(t, fmt.Sprintf("given away but %v", keep), got, want)
		if keep < 1 && gave < 2 {
			t.Errorf("gave %d times, keeping %v", gave, keep)
		}
	}
	s, err := src.Open(dataflow.NewEnv(t.Context()), splits[1])
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	if got, want := dataflow.Locate(s, 0), topic+"[1]@0"; got != want {
		t.Errorf("the first row is at %s, want %s", got, want)
	}
	s.Close()
	s.Close()
	if _, err := s.Next(t.Context()); err == nil || err == io.EOF {
		t.Errorf("after Close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err = src.Open(dataflow.NewEnv(ctx), splits[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(ctx); dataflow.KindOf(err) != dataflow.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	s.Close()
}

func readWith(t *testing.T, src dataflow.Source, sp dataflow.Split, set func(*dataflow.Env), see func(dataflow.Batch, dataflow.Stream)) []string {
	t.Helper()
	env := dataflow.NewEnv(t.Context())
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	env.Alloc = mem
	set(env)
	s, err := src.Open(env, sp)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		s.Close()
		if n := env.Memory.Used(); n != 0 {
			t.Errorf("%d bytes are still reserved", n)
		}
	}()
	return drain(t, s, see)
}

func drain(t *testing.T, s dataflow.Stream, see func(dataflow.Batch, dataflow.Stream)) []string {
	t.Helper()
	var rows []string
	for {
		b, err := s.Next(t.Context())
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		if see != nil {
			see(b, s)
		}
		rows = append(rows, connectortest.Strings(b)...)
		b.Release()
	}
}

func testJSON(t *testing.T, p *place) {
	topic := p.topic(t, 1)
	p.write(t, topic, message(0, "", `{"n":1,"s":"a"}`), kafkago.Message{WriterData: 0, Key: []byte("k")}, message(0, "", ` {"s":null,"n":2} `), message(0, "", `{"n":"three"}`), message(0, "", `{"n":4}`))
	args := SourceArgs{URI: p.uri(topic), Format: JSON, Schema: []byte(`[{"name":"n","type":"int64"},{"name":"s","type":"string"}]`)}
	got, err := tryLines(t, args, dataflow.SplitHint{})
	if !errors.Is(err, dataflow.ErrMalformed) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), topic+"[0]@3") || !strings.Contains(err.Error(), "three") {
		t.Errorf("got %q, %v", got, err)
	}
	args.Policy = Policy{Bad: "skip"}
	equal(t, "skip", lines(t, args, dataflow.SplitHint{}), []string{`"1" "a" `, `"2" null `, `"4" null `})
	args.MaxRecordBytes, args.Policy = 3, Policy{Bad: "skip", Max: 2}
	if _, err := tryLines(t, args, dataflow.SplitHint{}); !errors.Is(err, dataflow.ErrRecordTooLarge) || !strings.Contains(err.Error(), "3 bad records") {
		t.Errorf("third bad record: %v", err)
	}
}

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
	if _, err := connectortest.ReadSplit(t, src, before[0]); !errors.Is(err, ErrTopicChanged) || dataflow.KindOf(err) != dataflow.User {
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
