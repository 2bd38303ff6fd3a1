package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
)

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
		if err != nil || strings.Contains(out, "Ongoing") || !strings.Contains(out, "CompleteCommit") {
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
