package kafka

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/divisi-data/divisi/dataflow"
)

// Kind is the name under which source and sink are registered.
const Kind = "kafka"

// Formats of a source: how records become rows.
const (
	// Text is a row per line of a value, in the column "line". A tombstone has none.
	Text = "text"
	// JSON is a row per value, an object, in the columns of the schema. A tombstone
	// has none.
	JSON = "json"
	// Raw is a row per record, its key and value as they are.
	Raw = "raw"
	// Record is a row per record and all there is to know of it: topic, partition,
	// offset, timestamp, key, value, headers.
	Record = "record"
)

// SourceArgs are the arguments of the source, as JSON in a plan.
type SourceArgs struct {
	URI    string `json:"uri"`
	Format string `json:"format,omitempty"` // Text if none is given
	// Schema is a list of columns, as the source of kind "files" takes it; for JSON.
	Schema json.RawMessage `json:"schema,omitempty"`
	Policy Policy          `json:"policy,omitzero"`
	// MaxRecordBytes bounds key and value of one record; 0 means
	// DefaultMaxRecordBytes.
	MaxRecordBytes int64 `json:"max_record_bytes,omitempty"`
}

// DefaultMaxRecordBytes is how large a record may be unless the arguments say
// otherwise.
const DefaultMaxRecordBytes = 64 << 20

// maxRecordBytesMax keeps a batch of one record below what Arrow's 32-bit offsets
// address.
const maxRecordBytesMax = 1 << 30

// Policy says what is done when records cannot be had, or not be read.
type Policy struct {
	// DataLoss is "fail" (the default) or "count": offsets that were wanted and are
	// no longer in the log are left out and counted in "kafka.lost_offsets".
	DataLoss string `json:"data_loss,omitempty"`
	// Bad is "fail" (the default) or "skip": records that are too large or
	// malformed are left out and counted in "kafka.bad_records".
	Bad string `json:"bad,omitempty"`
	// Max is how many bad records one task skips before it fails; 0 means any
	// number.
	Max int64 `json:"max,omitempty"`
}

// SinkArgs are the arguments of the sink, as JSON in a plan.
type SinkArgs struct {
	URI     string      `json:"uri"`
	Options SinkOptions `json:"options,omitzero"`
}

// SinkOptions of the sink.
type SinkOptions struct {
	// Format is how rows become records; "" is by column: see columnsOf. JSON makes
	// each row an object, the record's value.
	Format string `json:"format,omitempty"`
	// Compression is none, gzip, snappy, lz4 or zstd; "" is what the properties say
	// (compression.type), or lz4.
	Compression string `json:"compression,omitempty"`
	// TransactionTimeoutMS is how long a transaction may stay open, in
	// milliseconds; 0 is what the properties say (transaction.timeout.ms), or the
	// longest the brokers allow. More than that is an error when the job is
	// submitted.
	TransactionTimeoutMS int64 `json:"transaction_timeout_ms,omitempty"`
	// Delivery is "transactional" (the default) or "idempotent".
	Delivery string `json:"delivery,omitempty"`
}

const (
	transactional = "transactional"
	idempotent    = "idempotent"
)

func decodeArgs(op string, raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &dataflow.Error{Op: op, Kind: dataflow.User, Err: fmt.Errorf("arguments %s: %w", raw, err)}
	}
	return nil
}

// oneOf checks a word of the arguments.
func oneOf(what, word string, have ...string) error {
	for _, h := range have {
		if word == h {
			return nil
		}
	}
	return fmt.Errorf("%s is %q (have %q)", what, word, have)
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
