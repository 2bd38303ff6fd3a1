package kafka

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/divisi-data/divisi/dataflow"
)

// file is a properties file.
func (p *place) file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "client.properties")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func batch64(b []byte) arrow.RecordBatch {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "b", Type: arrow.BinaryTypes.Binary, Nullable: true}}, nil))
	defer rb.Release()
	rb.Field(0).(*array.BinaryBuilder).Append(b)
	return rb.NewRecordBatch()
}

// job is one job's use of a sink.
type job struct {
	sink   dataflow.Sink
	commit dataflow.Commit
}

func beginJob(t *testing.T, s dataflow.Sink, name string) job {
	t.Helper()
	j := job{s, dataflow.Commit{Job: name, Mode: dataflow.Fail}}
	prepared, err := s.Prepare(t.Context(), j.commit)
	if err != nil {
		t.Fatal(err)
	}
	j.commit.Prepared = prepared
	return j
}

func (j job) open(t *testing.T, part, attempt int) dataflow.Writer {
	t.Helper()
	env := dataflow.NewEnv(t.Context())
	env.Task = dataflow.TaskID{Job: j.commit.Job, Stage: 1, Index: part, Attempt: attempt}
	env.Output = dataflow.Output{Commit: j.commit, Part: part}
	w, err := j.sink.Open(env)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (j job) seal(t *testing.T, part, attempt int, batches ...arrow.RecordBatch) dataflow.Receipt {
	t.Helper()
	w := j.open(t, part, attempt)
	for _, b := range batches {
		if err := w.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (j job) publish(t *testing.T, won ...dataflow.Receipt) {
	t.Helper()
	if err := j.sink.Publish(t.Context(), j.commit, won); err != nil {
		t.Fatal(err)
	}
}

func (j job) clean(t *testing.T) {
	t.Helper()
	if err := j.sink.Clean(context.WithoutCancel(t.Context()), j.commit); err != nil {
		t.Fatal(err)
	}
}

var wordCount = arrow.NewSchema([]arrow.Field{{Name: "word", Type: arrow.BinaryTypes.String}, {Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)

// javaVectors are keys and the hashes that Kafka's own test of its partitioner
// (murmur2) states for them.
var javaVectors = map[string]int32{
	"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
	"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
}

// testKeys checks that words and counts become keys and values, in the partition
// where Java's default partitioner puts them.
func testKeys(t *testing.T, p *place) {
	const partitions = 7
	topic := p.topic(t, partitions)
	j := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "keys")
	var rows, want []string
	for key := range javaVectors {
		rows = append(rows, fmt.Sprintf(`{"word":%q,"n":%d}`, key, len(key)))
	}
	for i := range 2000 {
		rows = append(rows, fmt.Sprintf(`{"word":"w%d","n":%d}`, i, -i))
		want = append(want, fmt.Sprintf("w%d=%d", i, -i))
	}
	rows = append(rows, `{"word":"","n":0}`, `{"word":"gone","n":null}`)
	for key := range javaVectors {
		want = append(want, fmt.Sprintf("%s=%d", key, len(key)))
	}
	want = append(want, "=0", "gone=")
	j.publish(t, j.seal(t, 0, 0, batch(t, wordCount, "["+strings.Join(rows, ",")+"]")))
	got := []string{}
	used := map[int]bool{}
	second := kafkago.Murmur2Balancer{Consistent: true}
	all := []int{0, 1, 2, 3, 4, 5, 6}
	for _, m := range p.read(t, topic) {
		if isMark(m) { // a mark of a transaction, which the client shows
			continue
		}
		got = append(got, fmt.Sprintf("%s=%s", m.Key, m.Value))
		used[m.Partition] = true
		if h, ok := javaVectors[string(m.Key)]; ok && int(h&0x7fffffff)%partitions != m.Partition {
			t.Errorf("key %s is in partition %d, Java's is %d", m.Key, m.Partition, int(h&0x7fffffff)%partitions)
		}
		if b := second.Balance(m, all...); b != m.Partition {
			t.Errorf("key %s is in partition %d, another client's is %d", m.Key, m.Partition, b)
		}
		if string(m.Key) == "gone" && m.Value != nil {
			t.Errorf("a null value is written as %q", m.Value)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	equal(t, "keys and values", got, want)
	if len(used) != partitions {
		t.Errorf("partitions %v are used", used)
	}
	// Kafka's own producer, with the same keys.
	other := p.topic(t, partitions)
	in := ""
	for i := range 200 {
		in += fmt.Sprintf("w%d:x\n", i)
	}
	if _, err := p.Tool(t.Context(), "console-producer", in, "--bootstrap-server", p.Bootstrap, "--topic", other,
		"--reader-property", "parse.key=true", "--reader-property", "key.separator=:"); err != nil {
		t.Fatal(err)
	}
	java := map[string]int{}
	for _, m := range p.read(t, other) {
		java[string(m.Key)] = m.Partition
	}
	for _, m := range p.read(t, topic) {
		if at, ok := java[string(m.Key)]; ok && at != m.Partition {
			t.Errorf("key %s is in partition %d, Java's producer writes it to %d", m.Key, m.Partition, at)
		}
	}
	if len(java) != 200 {
		t.Errorf("the console producer wrote %d keys", len(java))
	}
}

// testColumns checks that all parts of a record are written by their names, in
// every compression.
func testColumns(t *testing.T, p *place) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "partition", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, {Name: "value", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "headers", Type: headerType, Nullable: true}, {Name: "timestamp", Type: &arrow.TimestampType{Unit: arrow.Second}, Nullable: true}, {Name: "key", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
	for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		topic := p.topic(t, 3)
		j := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic), Options: SinkOptions{Compression: compression}}), "columns")
		text := strings.Repeat("compress me ", 100)
		b := batch(t, schema, fmt.Sprintf(`[
			{"partition":2,"value":%q,"headers":[{"key":"a","value":"MQ=="},{"key":"a","value":null}],"timestamp":"2026-01-02 03:04:05","key":7},
			{"partition":2,"value":"","headers":null,"timestamp":"2026-01-02 03:04:06","key":null},
			{"partition":0,"value":null,"headers":[],"timestamp":null,"key":8}]`, text))
		j.publish(t, j.seal(t, 0, 0, b))
		var got []string
		for _, m := range p.read(t, topic) {
			if isMark(m) {
				continue
			}
			at := ""
			if m.Time.Before(time.Now().Add(-time.Minute)) {
				at = m.Time.UTC().Format(time.DateTime)
			}
			got = append(got, fmt.Sprintf("%d %q %q %v %s", m.Partition, m.Key, m.Value, m.Headers, at))
		}
		slices.Sort(got)
		equal(t, compression, got, []string{
			`0 "8" "" [] `,
			`2 "" "" [] 2026-01-02 03:04:06`,
			fmt.Sprintf(`2 "7" %q [{a [49]} {a []}] 2026-01-02 03:04:05`, text),
		})
		equal(t, "read back", lines(t, SourceArgs{URI: p.uri(topic, "from=offsets:2=0")}, dataflow.SplitHint{}), []string{fmt.Sprintf("%q ", text), `"" `})
		// As many as Kafka's own tool decompresses.
		out, err := p.Tool(t.Context(), "console-consumer", "", "--bootstrap-server", p.Bootstrap, "--topic", topic, "--partition", "2", "--offset", "earliest", "--max-messages", "1", "--isolation-level", "read_committed")
		if err != nil || out != text+"\n" {
			t.Errorf("%s: the console consumer reads %.50q, %v", compression, out, err)
		}
	}
	topic := p.topic(t, 1)
	j := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "bad")
	for rows, want := range map[string]string{`[{"partition":9,"value":"x"}]`: "partition", `[{"partition":-2,"value":"x"}]`: "partition is -2"} {
		w := j.open(t, 0, 0)
		err := w.Write(t.Context(), batch(t, schema, rows))
		if err == nil {
			_, err = w.Seal(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", rows, err)
		}
		if err := w.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := p.committed(t, topic); len(got) > 0 {
		t.Errorf("written: %v", got)
	}
	// JSON.
	j = beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic), Options: SinkOptions{Format: JSON}}), "json")
	j.publish(t, j.seal(t, 0, 0, batch(t, wordCount, `[{"word":"a\"b","n":1},{"word":"","n":null}]`)))
	equal(t, "json", p.committed(t, topic), []string{`""="{\"word\":\"\",\"n\":null}"`, `""="{\"word\":\"a\\\"b\",\"n\":1}"`})
}
