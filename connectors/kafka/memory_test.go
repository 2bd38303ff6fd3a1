package kafka

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

// Where nothing is lent that can be done without, a part is read and written with the
// least memory: there is a stream, and a client to write with. No broker is asked.
func TestWithTheLeastMemory(t *testing.T) {
	const place = "kafka://127.0.0.1:1/topic"
	open := func(limit int64) *dataflow.Env {
		env := dataflow.NewEnv(t.Context())
		env.Memory = dataflow.NewMemory("test", limit)
		env.Memory.Scarce(true)
		return env
	}
	payload, err := json.Marshal(payload{Pieces: []piece{{Topic: "topic", End: 10}}})
	if err != nil {
		t.Fatal(err)
	}
	source := newSource(t, SourceArgs{URI: place})
	read := func(env *dataflow.Env) error {
		s, err := source.Open(env, dataflow.Split{Payload: payload})
		if err != nil {
			return err
		}
		if n := env.Memory.Used(); n != 2*fetchBytesMin {
			t.Errorf("reading holds %d bytes, want %d", n, 2*fetchBytesMin)
		}
		return s.Close()
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "value", Type: arrow.BinaryTypes.String}}, nil)
	write := func(env *dataflow.Env) error {
		prepared, err := json.Marshal(prepared{})
		if err != nil {
			t.Fatal(err)
		}
		env.Output.Commit = dataflow.Commit{Job: "job", Prepared: prepared}
		w, err := newSink(t, SinkArgs{URI: place, Options: SinkOptions{Delivery: idempotent}}).Open(env)
		if err != nil {
			t.Fatal(err)
		}
		if err = w.Write(t.Context(), batch(t, schema, `[{"value": "a"}]`)); err == nil {
			if n := env.Memory.Used(); n != bufferBytesMin {
				t.Errorf("writing holds %d bytes, want %d", n, bufferBytesMin)
			}
		}
		return errors.Join(err, w.Abort(t.Context()))
	}
	for what, try := range map[string]func(*dataflow.Env) error{"reading": read, "writing": write} {
		for _, limit := range []int64{0, 1 << 10} {
			env := open(limit)
			if err := try(env); (limit > 0) != errors.Is(err, dataflow.ErrOutOfMemory) {
				t.Errorf("%s with a limit of %d: %v", what, limit, err)
			}
			if n := env.Memory.Used(); n != 0 {
				t.Errorf("%s with a limit of %d: %d bytes are still reserved", what, limit, n)
			}
		}
	}
}
