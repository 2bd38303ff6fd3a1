package kafka

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() {
	dataflow.RegisterSource(dataflow.SourceKind{
		Kind:    Kind,
		Summary: "a topic between two sets of offsets that are fixed when the job is planned",
		Build: func(args []byte) (dataflow.Source, error) {
			var a SourceArgs
			if err := decodeArgs("kafka.Source", args, &a); err != nil {
				return nil, err
			}
			return NewSource(a)
		},
	})
}

// NewSource makes a source from its arguments; wrong ones are an error of kind User.
// No server is asked yet.
func NewSource(a SourceArgs) (dataflow.Source, error) {
	s := &source{args: a}
	if err := s.init(); err != nil {
		return nil, userError("kafka.Source", "", err)
	}
	return s, nil
}

type source struct {
	args    SourceArgs
	address address
	schema  *arrow.Schema
}

var _ dataflow.Source = (*source)(nil)

func (s *source) init() (err error) {
	a := &s.args
	if s.address, err = parseAddress(a.URI); err != nil {
		return err
	}
	if a.Format == "" {
		a.Format = Text
	}
	if err := oneOf("format", a.Format, Text, JSON, Raw, Record); err != nil {
		return err
	}
	if err := oneOf("policy data_loss", a.Policy.DataLoss, "", "fail", "count"); err != nil {
		return err
	}
	if err := oneOf("policy bad", a.Policy.Bad, "", "fail", "skip"); err != nil {
		return err
	}
	if a.MaxRecordBytes < 0 || a.MaxRecordBytes > maxRecordBytesMax {
		return fmt.Errorf("max_record_bytes is %d, may be at most %d", a.MaxRecordBytes, maxRecordBytesMax)
	}
	if a.MaxRecordBytes == 0 {
		a.MaxRecordBytes = DefaultMaxRecordBytes
	}
	if a.Format != JSON {
		s.schema = schemas[a.Format]
		return nil
	}
	if len(a.Schema) == 0 {
		return fmt.Errorf("format json needs a schema")
	}
	if s.schema, err = files.DecodeSchema(a.Schema); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	return nil
}

// Schema implements dataflow.Source.
func (s *source) Schema(context.Context) (*arrow.Schema, error) { return s.schema, nil }

// payload is what a split says to Open.
type payload struct {
	Pieces []piece `json:"pieces"`
	// Lost are offsets that were given up while planning; the first split counts
	// them.
	Lost int64 `json:"lost,omitempty"`
}

// Splits implements dataflow.Source.
func (s *source) Splits(ctx context.Context, hint dataflow.SplitHint) ([]dataflow.Split, error) {
	const op = "kafka.Splits"
	c, err := s.address.connect(op, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	path := c.path()
	topic, err := steadily(ctx, c, func() (t plannedTopic, err error) {
		if t.Metadata, err = kadm.NewClient(c.Client).Metadata(ctx, c.topic); err != nil {
			return t, err
		}
		detail := t.Topics[c.topic]
		if detail.Err != nil {
			return t, detail.Err
		}
		t.pieces, t.lost, err = ranges(ctx, c, topicID(detail.ID), s.args.Policy.DataLoss == "count")
		return t, err
	})
	if err != nil {
		return nil, planning(op, path, err)
	}
	topic.size = bytesPerOffset(ctx, c)
	return topic.cut(hint)
}

// Open implements dataflow.Source.
func (s *source) Open(env *dataflow.Env, split dataflow.Split) (dataflow.Stream, error) {
	var p payload
	if err := json.Unmarshal(split.Payload, &p); err != nil || len(p.Pieces) != 1 {
		return nil, &dataflow.Error{Op: "kafka.Open", Path: split.ID, Kind: dataflow.Fatal, Err: fmt.Errorf("payload of the split %q: %v", split.Payload, err)}
	}
	read := max(100<<20, s.args.MaxRecordBytes+16<<20)
	c, err := s.address.connect("kafka.Open", func(properties) ([]kgo.Opt, error) {
		return []kgo.Opt{kgo.BrokerMaxReadBytes(int32(read))}, nil
	})
	if err != nil {
		return nil, err
	}
	return newStream(env, s, c, p)
}
