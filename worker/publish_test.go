package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/race"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// countingSink publishes how many parts it was given, and whether they came in order, to
// the file that its arguments name.
type countingSink struct{ File string }

func init() {
	dataflow.RegisterSink(dataflow.SinkKind{Kind: "counting", Summary: "for tests", Build: func(args []byte) (dataflow.Sink, error) {
		var s countingSink
		err := json.Unmarshal(args, &s)
		return s, err
	}})
}

func (countingSink) Schema(context.Context) (*arrow.Schema, error)            { return numbersSchema, nil }
func (countingSink) Prepare(context.Context, dataflow.Commit) ([]byte, error) { return nil, nil }
func (countingSink) Clean(context.Context, dataflow.Commit) error             { return nil }
func (countingSink) Open(*dataflow.Env) (dataflow.Writer, error) {
	return nil, errors.New("nothing is written")
}

func (s countingSink) Publish(_ context.Context, _ dataflow.Commit, won []dataflow.Receipt) error {
	for i, r := range won {
		if r.Task.Index != i || r.Rows != int64(2*i) {
			return fmt.Errorf("part %d is %v with %d rows", i, r.Task, r.Rows)
		}
	}
	return os.WriteFile(s.File, fmt.Append(nil, len(won)), 0o600)
}

// TestPublishManyParts: the receipts of 100,000 parts are far more than fits into a
// message, on the way to the worker and on the way to its host.
func TestPublishManyParts(t *testing.T) {
	parts := race.Tries(100_000, 100_000, 10_000)
	payload := []byte(`"` + strings.Repeat("x", 20_000_000/parts) + `"`)
	c := startWith(t, "", false, func(*fakeCoordinator, *Config) {})
	c.tellJob("published", plan.Options{}, c.out)
	spec := c.control(pb.TaskKind_TASK_KIND_PUBLISH)
	bytes := 0
	for i := range parts {
		raw, err := json.Marshal(dataflow.Receipt{Task: dataflow.TaskID{Job: c.job.Id, Index: i}, Rows: int64(2 * i), Payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		bytes += len(raw)
		spec.Receipts = append(spec.Receipts, raw)
	}
	if bytes < messageMax+messageMax/4 {
		t.Fatalf("only %d bytes: they fit into one message of %d", bytes, messageMax)
	}
	id := spec.Id
	for _, page := range spec.Pages(receiptBytesMax) {
		c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: page}}})
	}
	if _, fail := c.ended(id); fail != nil {
		t.Fatalf("%s", fail.Message)
	}
	got, err := os.ReadFile(c.out)
	if err != nil || string(got) != fmt.Sprint(parts) {
		t.Errorf("published %s parts of %d: %v", got, parts, err)
	}
}
