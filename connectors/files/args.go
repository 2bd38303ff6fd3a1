package files

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// Kind is the name under which source and sink are registered.
const Kind = "files"

// SourceArgs are the arguments of the source, as JSON in a plan.
type SourceArgs struct {
	// Paths are files, folders and globs; in folders and globs, names that begin
	// with "_" or "." are skipped.
	Paths   []string        `json:"paths"`
	Format  string          `json:"format"`
	Options json.RawMessage `json:"options,omitempty"` // the format's own
	// Schema is a list of columns (see EncodeSchema); without it the format
	// infers one from the first file.
	Schema json.RawMessage `json:"schema,omitempty"`
	// Columns are the names of the columns to read, in the order they come out;
	// none means all.
	Columns []string `json:"columns,omitempty"`
	// Predicate is a condition on the columns of the files that all rows fulfil that
	// anyone will look at. A format may leave out rows that do not; it need not.
	Predicate expr.Expr `json:"predicate,omitzero"`
	// Partitions are columns that stand in the names of folders, column=value, as Hive
	// has them, instead of in the files. They are strings unless Schema says otherwise.
	Partitions []string `json:"partitions,omitempty"`
	Policy     Policy   `json:"policy,omitzero"`
	// MaxRecordBytes bounds one record; 0 means DefaultMaxRecordBytes.
	MaxRecordBytes int64 `json:"max_record_bytes,omitempty"`
}

// DefaultMaxRecordBytes is how long a record may be unless the arguments say
// otherwise.
const DefaultMaxRecordBytes = 64 << 20

// maxRecordBytesMax keeps a block of whole records below what Arrow's 32-bit
// offsets address.
const maxRecordBytesMax = 1 << 30

// Policy says what is done about a record that cannot be read.
type Policy struct {
	// Bad is "fail" (the default), "skip", or "only": the source's rows are then the
	// bad records alone, as RejectSchema has them. A job that keeps its bad records
	// reads the files twice, once skipping them and once for nothing else: so both
	// outputs are right however often a task is tried.
	Bad string `json:"bad,omitempty"`
	// Max is how many bad records one task skips before it fails; 0 means any
	// number. They are counted in the counter "files.bad_records".
	Max int64 `json:"max,omitempty"`
}

// SinkArgs are the arguments of the sink, as JSON in a plan.
type SinkArgs struct {
	Path   string `json:"path"` // the folder
	Format string `json:"format"`
	// Options are the format's own, and "compression" for formats that do
	// not compress by themselves: codec.Names has the names.
	Options json.RawMessage `json:"options,omitempty"`
	// PartitionBy are columns whose values name folders, column=value as Hive has them,
	// in which the files are that hold the other columns. A task writes one file at a
	// time, so rows of a folder had better come one after the other: a folder that is
	// come back to gets another file.
	PartitionBy []string `json:"partition_by,omitempty"`
	// TargetBytes is about how long a file becomes before the next one is begun; 0: as
	// long as a task's rows make it.
	TargetBytes int64 `json:"target_bytes,omitempty"`
}

// DecodeOptions reads a format's options into v; a field that v lacks is an error
// of kind User, so that a misspelled option is not ignored.
func DecodeOptions(format string, options json.RawMessage, v any) error {
	if len(options) == 0 {
		return nil
	}
	if err := decodeStrict(options, v); err != nil {
		return &dataflow.Error{Op: "files." + format, Kind: dataflow.User, Err: fmt.Errorf("options %s: %w", options, err)}
	}
	return nil
}

func decodeStrict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
