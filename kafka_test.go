package divisi_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/connectors/kafka"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
)

// TestKafka runs what needs a broker on one real one.
func TestKafka(t *testing.T) {
	b := &broker{KafkaCluster: services.Kafka(t, services.KafkaOptions{Secure: true})}
	var err error
	if b.client, err = kgo.NewClient(kgo.SeedBrokers(b.Bootstrap), kgo.DisableClientMetrics(), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	defer b.client.Close()
	b.admin = kadm.NewClient(b.client)
	t.Run("the page", func(t *testing.T) { testKafkaPage(t, b) })
	t.Run("bad", func(t *testing.T) { testBadRecords(t, b) })
}

// A broker is a running one and a plain client of it.
type broker struct {
	*services.KafkaCluster
	client *kgo.Client
	admin  *kadm.Client
}

// topic makes a topic of two partitions, to which the values go in turn.
func (b *broker) topic(t *testing.T, name string, values ...string) string {
	t.Helper()
	if _, err := b.admin.CreateTopic(t.Context(), 2, 1, nil, name); err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if err := b.client.ProduceSync(t.Context(), &kgo.Record{Topic: name, Partition: int32(i % 2), Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return "kafka://" + b.Bootstrap + "/" + name
}

// event and the jobs below it are those of docs/kafka.md.
type event struct {
	Item  string `df:"item"`
	Count int64  `df:"count"`
}

func topicToFiles(j *df.Job) {
	events := df.Read(j, df.FromJSONLines[event](j.Arg(0)).SkipBad(10))
	counts := df.Map(events, func(e event) df.Pair[string, int64] { return df.Pair[string, int64]{Key: e.Item, Value: e.Count} })
	df.Write(df.Sum(counts), df.TSV[df.Pair[string, int64]](j.Arg(1)))
}

func whatIsLeft(j *df.Job) {
	rows := df.Read(j, df.CustomSource[string]("kafka", kafka.SourceArgs{URI: j.Arg(0), Policy: kafka.Policy{DataLoss: "count"}}))
	df.Write(rows, df.Text(j.Arg(1)))
}

func filesToTopic(j *df.Job) {
	words := df.Words(df.Read(j, df.Lines(j.Arg(0))))
	df.Write(df.Count(words), df.TSV[df.Pair[string, int64]](j.Arg(1)))
}

func testKafkaPage(t *testing.T, b *broker) {
	run := func(job func(*df.Job), in, out string) divisi.Summary {
		t.Helper()
		sum, err := divisi.Run(t.Context(), job, []string{in, out}, divisi.Parallelism(2), divisi.Partitions(2), divisi.TempDir(t.TempDir()), divisi.Check())
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	folder := func() string { return filepath.Join(t.TempDir(), "out") }
	events := b.topic(t, "page-events", `{"item":"a","count":1}`, `{"item":"b","count":2}`, `{"item":"a","count":"many"}`, `{"item":"a","count":4}`)
	out := folder()
	sum := run(topicToFiles, events, out)
	if got := parts(t, out); !slices.Equal(got, []string{"a\t5", "b\t2"}) || sum.Counters["kafka.bad_records"] != 1 {
		t.Errorf("sums are %q, counted %v", got, sum.Counters)
	}

	lines := b.topic(t, "page-lines", "0", "1", "2", "3")
	for query, want := range map[string][]string{
		"": {"0", "1", "2", "3"}, "?from=offsets:0=1&to=offsets:0=2": {"2"}, "?from=offsets:0=1,1=0": {"1", "2", "3"}, "?to=2001-02-03T04:05:06Z": nil,
	} {
		out := folder()
		run(copyLines, lines+query, out)
		if got := parts(t, out); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	out = folder()
	sum = run(whatIsLeft, lines+"?from=offsets:0=1&to=offsets:0=9", out)
	if got := parts(t, out); !slices.Equal(got, []string{"2"}) || sum.Counters["kafka.lost_offsets"] != 7 {
		t.Errorf("what is left is %q, counted %v", got, sum.Counters)
	}

	words := b.topic(t, "page-words")
	run(filesToTopic, write(t, "to be or not to be\n"), words)
	got, err := b.Tool(t.Context(), "console-consumer", "", "--bootstrap-server", b.Bootstrap, "--topic", "page-words", "--from-beginning",
		"--isolation-level", "read_committed", "--max-messages", "4", "--formatter-property", "print.key=true", "--formatter-property", "key.separator==")
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Fields(got)
	slices.Sort(have)
	if want := []string{"be=2", "not=1", "or=1", "to=2"}; !slices.Equal(have, want) {
		t.Errorf("Kafka's own consumer reads %q, want %q", have, want)
	}
}

// testBadRecords: topics that cannot be read or written as is asked.
func testBadRecords(t *testing.T, broker *broker) {
	admin, topic := broker.admin, func(name string, values ...string) string { t.Helper(); return broker.topic(t, name, values...) }
	in := write(t, "one\ntwo\n")
	words := topic("words", "one", "two", "three", "four")
	objects := topic("objects", `{"item":"a","count":1}`, `{"item":"b","count":2}`, `{"item":"c","count":"many"}`)
	doomed := topic("doomed", "one", "two", "three", "four")
	strict, small := topic("strict"), "1000"
	if _, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &small}}, "strict"); err != nil {
		t.Fatal(err)
	}
	secure := "kafka://" + broker.SecureBootstrap + "/words?config="
	tls := []string{"security.protocol=SASL_SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=" + broker.CA, "sasl.mechanism=PLAIN"}
	login := `sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="tester" password="guessed-wrong";`
	const none = "kafka://%s/nothing"
	rows := []badRow{
		{name: "no such topic", job: copyLines, in: fmt.Sprintf(none, broker.Bootstrap), is: os.ErrNotExist, says: []string{"/nothing", "create the topic"}},
		{name: "no such topic, to write", job: copyLines, in: in, out: fmt.Sprintf(none, broker.Bootstrap), is: os.ErrNotExist, says: []string{"/nothing", "create the topic"}},
		{name: "no such partition", job: copyLines, in: words + "?from=offsets:7=0", is: kafka.ErrOffsetOutOfRange, says: []string{"words", "partition 7", "has 2"}},
		{name: "offsets the log has not", job: copyLines, in: words + "?from=offsets:0=1&to=offsets:0=9", is: kafka.ErrOffsetOutOfRange, says: []string{"words", "partition 0", "1 to 9", "0 to 2"}},
		{name: "a group without offsets", job: copyLines, in: words + "?from=group:nobody", is: df.ErrNoInput, says: []string{"words", `"nobody"`}},
		{name: "no number in a value", job: copyRows(df.FromJSONLines[sale]), in: objects, is: df.ErrMalformed, says: []string{"objects[0]@1", "count", "many"}},
		{name: "a value over the limit", job: func(j *df.Job) {
			df.Write(df.Read(j, df.Lines(j.Arg(0)).MaxRecordBytes(4)), df.Text(j.Arg(1)))
		}, in: words, is: df.ErrRecordTooLarge, says: []string{"words[0]@1", "4"}},
		{name: "a topic that is to be replaced", job: copyLines, in: in, out: words, mode: df.Replace, is: storage.ErrUnsupported, says: []string{"words", "cannot be replaced"}},
		{name: "a transaction without an end", job: func(j *df.Job) {
			df.Write(df.Read(j, df.Lines(j.Arg(0))), df.Text(j.Arg(1)).Option("transaction_timeout_ms", 24*3600*1000))
		}, in: in, out: words, is: storage.ErrInvalid, says: []string{"words", "24h", "transaction.max.timeout.ms"}},
		{name: "a record the topic refuses", job: func(j *df.Job) {
			df.Write(df.Map(df.Read(j, df.Lines(j.Arg(0))), func(s string) string { return strings.Repeat(s, 5000) }), df.Text(j.Arg(1)).Option("compression", "none"))
		}, in: in, out: strict, is: df.ErrRecordTooLarge, says: []string{"strict", "max.message.bytes"}},
		{name: "a wrong password", job: copyLines, in: secure + properties(t, append(tls, login)...), is: storage.ErrPermission, says: []string{"words", "user and password"}},
		{name: "a wrong password, to write", job: copyLines, in: in, out: secure + properties(t, append(tls, login)...), is: storage.ErrPermission, says: []string{"words", "user and password"}},
		{name: "an unknown authority", job: copyLines, in: secure + properties(t, "security.protocol=SASL_SSL", "sasl.mechanism=PLAIN", login), is: storage.ErrPermission, says: []string{"words", "ssl.truststore.location"}},
		{name: "no TLS where TLS is wanted", job: copyLines, in: secure + properties(t, "default.api.timeout.ms=3000", "request.timeout.ms=500"), is: kafka.ErrUnreachable, says: []string{"words", "security.protocol"}},
		{name: "a topic deleted in the middle of the job", slots: 1, job: func(j *df.Job) {
			df.Write(df.Map(df.Read(j, df.Lines(j.Arg(0))), func(s string) string {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				_, _ = admin.DeleteTopics(ctx, "doomed")
				return s
			}), df.Text(j.Arg(1)))
		}, in: doomed, is: kafka.ErrTopicChanged, says: []string{"doomed", "gone"}},
	}
	runBad(t, rows)
	// What failed to be written is not there. (Aborted transactions leave marks that take offsets.)
	for _, c := range []struct {
		topic string
		want  []string
	}{{words, []string{"four", "one", "three", "two"}}, {strict, nil}} {
		out := filepath.Join(t.TempDir(), "out")
		if _, err := divisi.Run(t.Context(), copyLines, []string{c.topic, out}, divisi.TempDir(t.TempDir())); err != nil {
			t.Fatal(err)
		}
		if got := parts(t, out); !slices.Equal(got, c.want) {
			t.Errorf("%s has %q, want %q", c.topic, got, c.want)
		}
	}
}
