package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

// testTransactions: publish from the receipt alone, losers, the dead, the expired.
func testTransactions(t *testing.T, p *place) {
	one := batch(t, wordCount, `[{"word":"a","n":1},{"word":"b","n":2}]`)
	two := batch(t, wordCount, `[{"word":"c","n":3}]`)
	want := []string{`"a"="1"`, `"b"="2"`, `"c"="3"`}

	t.Run("another process publishes", func(t *testing.T) {
		topic := p.topic(t, 2)
		args := SinkArgs{URI: p.uri(topic)}
		j := beginJob(t, newSink(t, args), "there")
		won := []dataflow.Receipt{j.seal(t, 0, 3, one), j.seal(t, 1, 0, two)}
		for range 2 {
			raw, err := json.Marshal(publishing{args, j.commit, won})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPublishInAnotherProcess$")
			cmd.Env = append(os.Environ(), publishEnv+"="+string(raw))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			equal(t, "published there", p.committed(t, topic), want)
		}
		j.publish(t, won...)
		j.clean(t)
		j.publish(t, won...) // even now: what is committed stays so
		equal(t, "and here", p.committed(t, topic), want)
	})

	t.Run("the dead and the losers", func(t *testing.T) {
		topic := p.topic(t, 2)
		j, other := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "job/1"), beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "job/10")
		j.seal(t, 0, 0, one)
		won := j.seal(t, 0, 1, one)
		dead := j.open(t, 1, 0).(*writer)
		if err := dead.Write(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		if err := dead.cluster.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		dead.cluster.Close() // as its process ends
		foreign := other.seal(t, 0, 0, two)
		if got := p.open(t); len(got) != 4 {
			t.Errorf("open are %v", got)
		}
		j.publish(t, won)
		j.clean(t)
		equal(t, "left open", p.open(t), []string{"divisi:job%2F10:" + topic + ":1:0:0"})
		other.publish(t, foreign)
		equal(t, "committed", p.committed(t, topic), want)
		other.clean(t)
		dead.close()
		out, err := p.Tool(t.Context(), "transactions", "", "--bootstrap-server", p.Bootstrap, "list")
		if err != nil || strings.Contains(out, "Ongoing") || !strings.Contains(out, "CompleteAbort") || !strings.Contains(out, "CompleteCommit") {
			t.Errorf("kafka-transactions lists %s, %v", out, err)
		}
	})

	t.Run("expired", func(t *testing.T) {
		topic := p.topic(t, 2)
		quick := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic), Options: SinkOptions{TransactionTimeoutMS: 1000}}), "expired")
		given := quick.seal(t, 0, 0, one)
		slow := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "expired")
		kept := slow.seal(t, 1, 0, two)
		p.until(t, "the transaction expires", func() bool { return !slices.Contains(p.open(t), "divisi:expired:"+topic+":1:0:0") })
		for range 2 {
			err := slow.sink.Publish(t.Context(), slow.commit, []dataflow.Receipt{kept, given})
			if !errors.Is(err, ErrTransactionExpired) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "expired/1/0.0") {
				t.Errorf("publish: %v", err)
			}
			if got := p.committed(t, topic); len(got) > 0 {
				t.Errorf("part of a job that cannot be published is visible: %v", got)
			}
		}
		// Also where it is found out only by the commit itself.
		cl, err := slow.sink.(*sink).address.connect("test", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		part := wonPart{task: given.Task}
		if err := json.Unmarshal(given.Payload, &part.receiptPayload); err != nil {
			t.Fatal(err)
		}
		if err := cl.commit(t.Context(), part); !errors.Is(err, ErrTransactionExpired) {
			t.Errorf("commit: %v", err)
		}
		slow.clean(t)
		if got := p.open(t); len(got) > 0 {
			t.Errorf("left open: %v", got)
		}
		if err := cl.alive(t.Context(), []wonPart{{receiptPayload{TransactionID: "never-heard-of"}, given.Task}}); !errors.Is(err, ErrTransactionExpired) {
			t.Errorf("never heard of: %v", err)
		}
	})

	t.Run("checked at submit", func(t *testing.T) {
		topic := p.topic(t, 1)
		for _, c := range []struct {
			args SinkArgs
			mode dataflow.Mode
			want string
		}{
			{SinkArgs{URI: p.uri(topic), Options: SinkOptions{TransactionTimeoutMS: 900_001}}, dataflow.Fail, "15m0.001s is asked for, the brokers allow 15m0s"},
			{SinkArgs{URI: p.uri(topic, "config="+p.file(t, "transaction.timeout.ms=3600000"))}, dataflow.Append, "1h0m0s is asked for"},
			{SinkArgs{URI: p.uri(topic)}, dataflow.Replace, "cannot be replaced"},
			{SinkArgs{URI: p.uri("no-such-topic")}, dataflow.Fail, "no-such-topic"},
		} {
			_, err := newSink(t, c.args).Prepare(t.Context(), dataflow.Commit{Job: "x", Mode: c.mode})
			if dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c.args, err)
			}
		}
		j := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "x")
		if want := `{"timeout_ms":900000,"end_txn":5}`; string(j.commit.Prepared) != want {
			t.Errorf("prepared %s, want %s", j.commit.Prepared, want)
		}
		w := j.open(t, 0, 0)
		err := w.Write(t.Context(), batch(t, schemas[Text], fmt.Sprintf(`[{"line":%q}]`, strings.Repeat("x", 2<<20))))
		if err == nil {
			_, err = w.Seal(t.Context())
		}
		if dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "max.message.bytes") {
			t.Errorf("a record that is too large: %.300v", err)
		}
		if err := w.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	})

	t.Run("old transactions", func(t *testing.T) { // as before transaction.version 2
		topic := p.topic(t, 2)
		j := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "old")
		j.commit.Prepared = []byte(`{"timeout_ms":60000,"end_txn":4}`)
		won := []dataflow.Receipt{j.seal(t, 0, 0, one), j.seal(t, 1, 0, two)}
		j.seal(t, 0, 1, one)
		for range 3 {
			j.publish(t, won...)
		}
		j.clean(t)
		equal(t, "committed", p.committed(t, topic), want)
		if got := p.open(t); len(got) > 0 {
			t.Errorf("left open: %v", got)
		}
	})

	t.Run("without", func(t *testing.T) {
		topic := p.topic(t, 1)
		j := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic), Options: SinkOptions{Delivery: idempotent}}), "without")
		r := j.seal(t, 4, 2, one)
		equal(t, "at once", p.committed(t, topic), want[:2])
		j.publish(t, r)
		j.clean(t)
		for i, m := range p.read(t, topic) {
			if got, want := fmt.Sprintf("%s", m.Headers), "[{divisi-job without} {divisi-part 4} {divisi-attempt 2} {divisi-row "+strconv.Itoa(i)+"}]"; got != want {
				t.Errorf("headers are %s, want %s", got, want)
			}
		}
	})
}

// publishing is what a control task knows.
type publishing struct {
	Args   SinkArgs
	Commit dataflow.Commit
	Won    []dataflow.Receipt
}

const publishEnv = "DIVISI_TEST_PUBLISH"

// TestPublishInAnotherProcess is that process.
func TestPublishInAnotherProcess(t *testing.T) {
	raw := os.Getenv(publishEnv)
	if raw == "" {
		t.Skip("run by testTransactions")
	}
	var p publishing
	if err := json.Unmarshal([]byte(raw), &p); err != nil {
		t.Fatal(err)
	}
	if err := newSink(t, p.Args).Publish(t.Context(), p.Commit, p.Won); err != nil {
		t.Fatal(err)
	}
}

// testSecurity reads and writes over SASL and TLS.
func testSecurity(t *testing.T, p *place) {
	t.Setenv("DIVISI_TEST_PASSWORD", p.Password)
	secret := p.file(t, "password="+p.Password+"\n")
	module := func(name, password string) string {
		return `sasl.jaas.config=org.apache.kafka.common.security.` + name + ` required \` + "\n" + `  username="` + p.User + `" password="` + password + `";` + "\n"
	}
	tls := "security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location=" + p.CA + "\n"
	open := func(text string) ([]string, error) {
		topic := p.topic(t, 1)
		uri := Scheme + p.SecureBootstrap + "/" + topic + "?config=" + p.file(t, text)
		s := newSink(t, SinkArgs{URI: uri})
		j := job{s, dataflow.Commit{Job: "secure", Mode: dataflow.Fail}}
		prepared, err := s.Prepare(t.Context(), j.commit)
		if err != nil {
			return nil, err
		}
		j.commit.Prepared = prepared
		j.publish(t, j.seal(t, 0, 0, batch(t, schemas[Text], `[{"line":"secret"}]`)))
		j.clean(t)
		return tryLines(t, SourceArgs{URI: uri}, dataflow.SplitHint{})
	}
	for _, text := range []string{
		tls + "sasl.mechanism=PLAIN\n" + module("plain.PlainLoginModule", p.Password),
		tls + "sasl.mechanism=SCRAM-SHA-256\n" + module("scram.ScramLoginModule", "${env:DIVISI_TEST_PASSWORD}"),
		tls + "sasl.mechanism=SCRAM-SHA-512\n" + module("scram.ScramLoginModule", "${file:"+secret+":password}"),
	} {
		if got, err := open(text); err != nil || !slices.Equal(got, []string{`"secret" `}) {
			t.Errorf("%.200s: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		tls + "sasl.mechanism=PLAIN\n" + module("plain.PlainLoginModule", "guessed-wrong"):                                                  "check user and password",
		tls + "sasl.mechanism=SCRAM-SHA-512\n" + module("scram.ScramLoginModule", "guessed-wrong"):                                          "check user and password",
		"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n" + module("plain.PlainLoginModule", p.Password):                                 "ssl.truststore.location",
		tls + "sasl.mechanism=GSSAPI\n" + module("plain.PlainLoginModule", p.Password):                                                      "GSSAPI",
		tls + "sasl.kerberos.service.name=kafka\n":                                                                                          "sasl.kerberos.service.name",
		"security.protocol=SASL_SSL\nssl.truststore.location=/x.jks\nsasl.mechanism=PLAIN\n" + module("plain.PlainLoginModule", p.Password): "only PEM",
	} {
		_, err := open(text)
		if dataflow.KindOf(err) != dataflow.User || !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), "guessed-wrong") || strings.Contains(fmt.Sprint(err), p.Password) {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}
