package kafka

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/services"
)

// TestBrokers has three brokers, of which one at a time dies, hangs, or comes back.
func TestBrokers(t *testing.T) {
	services.Deaths(t)
	p := startKafka(t, services.KafkaOptions{Brokers: 3})
	for _, test := range []struct {
		name string
		run  func(*testing.T, *place)
	}{
		{"rack", testRack}, {"read", testReadThroughDeath}, {"write", testWriteThroughDeath}, {"commit and clean", testEndThroughDeath},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, p) })
	}
}

// leader is who leads partition 0 of a topic, as an index.
func (p *place) leader(t *testing.T, topic string) int {
	t.Helper()
	md, err := p.admin.Metadata(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return p.Broker(md.Topics[topic].Partitions[0].Leader)
}

// whole waits until every partition of the topics has three replicas in sync.
func (p *place) whole(t *testing.T, topics ...string) {
	t.Helper()
	var md kadm.Metadata
	defer func() {
		if t.Failed() {
			for i := range 3 {
				t.Logf("broker %d, alive: %v: %s", i+1, p.Alive(i), p.Log(i))
			}
		}
	}()
	p.until(t, "the replicas are in sync", func() bool {
		var err error
		md, err = p.admin.Metadata(t.Context(), topics...)
		if err != nil {
			return false
		}
		for _, topic := range md.Topics {
			for _, part := range topic.Partitions {
				if part.Leader < 0 || len(part.ISR) < 3 {
					return false
				}
			}
		}
		return true
	})
}

// fill writes about 6 MB in 20,000 records, and returns them as rows of text.
func (p *place) fill(t *testing.T, topic string) []string {
	t.Helper()
	var messages []kafkago.Message
	var want []string
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		v := fmt.Sprintf("%d %0280x", i, random.Uint64())
		messages = append(messages, message(0, "", v))
		want = append(want, fmt.Sprintf("%q ", v))
	}
	p.write(t, topic, messages...)
	return want
}

// testReadThroughDeath reads while the leader is killed, and while it hangs.
func testReadThroughDeath(t *testing.T, p *place) {
	topic := p.topic(t, 1)
	want := p.fill(t, topic)
	src := newSource(t, SourceArgs{URI: p.uri(topic, "config="+p.file(t, "request.timeout.ms=1000\n"))})
	for _, how := range []string{"killed", "stopped"} {
		p.whole(t, topic)
		splits, err := src.Splits(t.Context(), dataflow.SplitHint{})
		if err != nil || len(splits) != 1 {
			t.Fatalf("%d splits, %v", len(splits), err)
		}
		s, err := src.Open(dataflow.NewEnv(t.Context()), splits[0])
		if err != nil {
			t.Fatal(err)
		}
		victim := p.leader(t, topic)
		var got []string
		for {
			b, err := s.Next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 {
				if how == "killed" {
					p.Kill(victim)
				} else if err := p.Pause(victim); err != nil {
					t.Fatal(err)
				}
			}
			got = append(got, connectortest.Strings(b)...)
			b.Release()
		}
		s.Close()
		equal(t, how, got, want)
		if how == "killed" {
			p.Start(t, victim)
		} else if err := p.Resume(victim); err != nil {
			t.Fatal(err)
		}
	}
	p.whole(t, topic)
}

// testWriteThroughDeath writes while the leader is killed.
func testWriteThroughDeath(t *testing.T, p *place) {
	topic := p.topic(t, 1)
	j := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "through-death")
	w := j.open(t, 0, 0)
	var want []string
	victim := -1
	for i := range 40 {
		var rows []string
		for k := range 250 {
			rows = append(rows, fmt.Sprintf(`{"line":"%d %d"}`, i, k))
			want = append(want, fmt.Sprintf(`""="%d %d"`, i, k))
		}
		if i == 20 {
			p.whole(t, topic, stateTopic)
			victim = p.leader(t, topic)
			p.Kill(victim)
		}
		if err := w.Write(t.Context(), batch(t, schemas[Text], "["+strings.Join(rows, ",")+"]")); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j.publish(t, r)
	j.clean(t)
	slices.Sort(want)
	equal(t, "committed", p.committed(t, topic), want)
	p.Start(t, victim)
	p.whole(t, topic, stateTopic)
}

// testEndThroughDeath commits and aborts while coordinators die and come back.
func testEndThroughDeath(t *testing.T, p *place) {
	topic := p.topic(t, 2)
	j := beginJob(t, newSink(t, SinkArgs{URI: p.uri(topic)}), "ends")
	var won []dataflow.Receipt
	var want []string
	for part := range 8 {
		row := fmt.Sprintf(`{"word":"w%d","n":%d}`, part, part)
		j.seal(t, part, 0, batch(t, wordCount, "["+row+"]"))
		won = append(won, j.seal(t, part, 1, batch(t, wordCount, "["+row+"]")))
		want = append(want, fmt.Sprintf(`"w%d"="%d"`, part, part))
	}
	p.whole(t, topic, stateTopic)
	p.Kill(p.coordinator(t, "divisi:ends:"+topic+":1:0:1"))
	j.publish(t, won...)
	j.publish(t, won...)
	p.restart(t)

	p.whole(t, topic, stateTopic)
	victim := p.coordinator(t, "divisi:ends:"+topic+":1:0:0")
	p.Kill(victim)
	started := make(chan error)
	go func() { started <- j.sink.Clean(context.WithoutCancel(t.Context()), j.commit) }()
	p.Start(t, victim)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	p.whole(t, topic, stateTopic)
	if got := p.open(t); len(got) > 0 {
		t.Errorf("left open: %v", got)
	}
	// Readers waited behind the losers' transactions until now.
	equal(t, "committed", p.committed(t, topic), want)
}

// coordinator is the broker that coordinates a transaction.
func (p *place) coordinator(t *testing.T, id string) int {
	t.Helper()
	var found kadm.FindCoordinatorResponse
	p.until(t, "the coordinator is known", func() bool {
		found = p.admin.FindTxnCoordinators(t.Context(), id)[id]
		return found.Err == nil
	})
	return p.Broker(found.NodeID)
}

// restart starts the broker that is dead.
func (p *place) restart(t *testing.T) {
	t.Helper()
	for i := range 3 {
		if !p.Alive(i) {
			p.Start(t, i)
		}
	}
}

// testRack reads from the replica in the reader's own rack.
func testRack(t *testing.T, p *place) {
	topic := p.topic(t, 1)
	p.write(t, topic, message(0, "", "a"), message(0, "", "b"))
	p.whole(t, topic)
	leader := p.leader(t, topic)
	for i := range 3 {
		src := newSource(t, SourceArgs{URI: p.uri(topic, fmt.Sprintf("rack=rack-%d", i+1))})
		splits, err := src.Splits(t.Context(), dataflow.SplitHint{})
		if err != nil || len(splits) != 1 || len(splits[0].Hosts) != 1 {
			t.Fatalf("%+v, %v", splits, err)
		}
		s, err := src.Open(dataflow.NewEnv(t.Context()), splits[0])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "rows", drain(t, s, nil), []string{`"a" `, `"b" `})
		want := int32(i + 1)
		if i == leader {
			want = -1
		}
		if got := s.(*stream).fetcher.replica; got != want {
			t.Errorf("in rack-%d the replica is %d, want %d (the leader is %d)", i+1, got, want, leader+1)
		}
		s.Close()
	}
}
