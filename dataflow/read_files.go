package dataflow

import (
	"encoding/json"
	"strings"
)

// A FileSource is rows in files, of any storage the job binary links. Its paths are
// files, folders (all files in them whose names begin with neither "_" nor ".")
// and globs.
type FileSource[T any] struct {
	paths    []string
	format   string
	options  options
	columns  bool // the format is told the columns of T
	folders  []string
	skipBad  bool
	badMax   int64
	bytesMax int64
	// deadLetter is the folder for bad records, "" for none.
	deadLetter string
}

// fileSourceArgs are the arguments of the source of kind "files".
type fileSourceArgs struct {
	Paths          []string        `json:"paths"`
	Format         string          `json:"format"`
	Options        options         `json:"options,omitempty"`
	Schema         json.RawMessage `json:"schema,omitempty"`
	Partitions     []string        `json:"partitions,omitempty"`
	Policy         filePolicy      `json:"policy,omitzero"`
	MaxRecordBytes int64           `json:"max_record_bytes,omitempty"`
}

type filePolicy struct {
	Bad string `json:"bad,omitempty"`
	Max int64  `json:"max,omitempty"`
}

// topicSourceArgs are the arguments of the source of kind "kafka".
type topicSourceArgs struct {
	URI            string          `json:"uri"`
	Format         string          `json:"format,omitempty"`
	Schema         json.RawMessage `json:"schema,omitempty"`
	Policy         filePolicy      `json:"policy,omitzero"`
	MaxRecordBytes int64           `json:"max_record_bytes,omitempty"`
}

// topicFormats are the formats of files that the values of records may have too,
// by the names of the source of kind "kafka".
var topicFormats = map[string]string{"text": "text", "jsonl": "json"}

const topicScheme = "kafka://"

// options of a format, by name.
type options map[string]any

// with is o and one more; o stays as it is.
func (o options) with(name string, value any) options {
	out := options{name: value}
	for k, v := range o {
		if k != name {
			out[k] = v
		}
	}
	return out
}

// Lines is lines of text, without their ends (LF or CR LF), bytes kept as they
// are, in a column "line". A path "kafka://host:port/topic" is the records of a topic, their values as
// lines.
func Lines(paths ...string) FileSource[string] {
	return FileSource[string]{paths: paths, format: "text"}
}

// FromTSV is lines of fields that tabs separate, a field per column of T, in order.
func FromTSV[T any](paths ...string) FileSource[T] {
	return FileSource[T]{paths: paths, format: "tsv", columns: true}
}

// FromCSV is comma-separated values, by the names in the header line.
func FromCSV[T any](paths ...string) FileSource[T] {
	return FileSource[T]{paths: paths, format: "csv", columns: true}
}

// FromJSONLines is a JSON object a line; fields are found by the columns' names. A
// path "kafka://host:port/topic" is the records of a topic, each value an object.
func FromJSONLines[T any](paths ...string) FileSource[T] {
	return FileSource[T]{paths: paths, format: "jsonl", columns: true}
}

// FromParquet is Parquet files; columns are found by name, and no others are read.
func FromParquet[T any](paths ...string) FileSource[T] {
	return FileSource[T]{paths: paths, format: "parquet", columns: true}
}

// FromArrow is Arrow IPC files; columns are found by name.
func FromArrow[T any](paths ...string) FileSource[T] {
	return FileSource[T]{paths: paths, format: "arrow", columns: true}
}

// FromAvro is Avro container files; columns are found by name.
func FromAvro[T any](paths ...string) FileSource[T] {
	return FileSource[T]{paths: paths, format: "avro", columns: true}
}

// FromSequenceFile is Hadoop's SequenceFiles: string for Text, []byte for BytesWritable,
// an integer or a float of at least the class's width.
func FromSequenceFile[K, V any](paths ...string) FileSource[Pair[K, V]] {
	return FileSource[Pair[K, V]]{paths: paths, format: "sequencefile", columns: true}
}

// Record is a binary record: a key, and all that follows it. Neither may be changed.
type Record struct {
	Key   []byte `df:"key"`
	Value []byte `df:"value"`
}

// FromRecords is binary records of a fixed length that begin with their keys: for
// TeraSort's files, FromRecords(10, 100, paths...).
func FromRecords(keyBytes, recordBytes int, paths ...string) FileSource[Record] {
	return FileSource[Record]{paths: paths, format: "fixed", options: recordOptions(keyBytes, recordBytes)}
}

func recordOptions(keyBytes, recordBytes int) options {
	return options{"key_bytes": keyBytes, "record_bytes": recordBytes}
}

// SkipBad leaves out records that cannot be read, up to max in a task (0: any
// number), and counts them in the counter "files.bad_records". Without it the
// first one fails the job, and the error names its file and position.
func (s FileSource[T]) SkipBad(max int64) FileSource[T] {
	s.skipBad, s.badMax = true, max
	return s
}

// A Reject is a record that could not be read, as DeadLetter keeps it.
type Reject struct {
	Position string `df:"position"` // file and offset
	Reason   string `df:"reason"`
	Record   string `df:"record"`
}

// DeadLetter leaves out records that cannot be read and writes each, with its position
// and the reason, to JSON lines in the folder path, which is published with the job's
// other outputs. The files are read twice, once for the good records and once for the
// bad, so both are exact however often a task is tried.
func (s FileSource[T]) DeadLetter(path string) FileSource[T] {
	s.skipBad, s.deadLetter = true, path
	return s
}

// Partitioned says that some columns of T stand in the names of folders, column=value
// as Hive has them, instead of in the files. In a table that is read without a schema they
// are texts, behind the files' columns.
func (s FileSource[T]) Partitioned(columns ...string) FileSource[T] {
	s.folders = columns
	return s
}

// MaxRecordBytes bounds one record; a longer one is bad. Without it the bound is
// 64 MiB.
func (s FileSource[T]) MaxRecordBytes(n int64) FileSource[T] {
	s.bytesMax = n
	return s
}

// Option sets an option of the format, by the format's name for it.
func (s FileSource[T]) Option(name string, value any) FileSource[T] {
	s.options = s.options.with(name, value)
	return s
}

// columnName is what the format calls its only column.
func (s FileSource[T]) columnName() string {
	if s.format == "text" {
		return "line"
	}
	return ""
}

func (s FileSource[T]) source(j *Job, c *codec[T]) (string, Ref) {
	name := "Read " + s.format
	if len(s.paths) == 0 {
		j.Errorf("%s: no path is given", name)
		return name, Ref{}
	}
	for _, p := range s.paths {
		if strings.HasPrefix(p, topicScheme) {
			if len(s.paths) > 1 {
				j.Errorf("%s: %s is a topic, which is read alone: use Union", name, p)
			}
			return "Read kafka", Ref{Kind: "kafka", Args: encodeArgs(s.topicArgs(j, c, p))}
		}
	}
	args := fileSourceArgs{Paths: s.paths, Format: s.format, Options: s.options, MaxRecordBytes: s.bytesMax,
		Partitions: s.folders, Policy: s.policy(), Schema: s.schema(j, c, name)}
	if len(s.folders) > 0 && !s.columns && c != nil {
		j.Errorf("%s: rows without columns have no place for those of folders", name)
	}
	if s.deadLetter != "" {
		bad := args
		bad.Policy = filePolicy{Bad: "only"}
		rejects := Read(j, CustomSource[Reject]("files", bad)).Named("Read bad " + s.format)
		Write(rejects, JSONLines[Reject](s.deadLetter))
	}
	return name, Ref{Kind: "files", Args: encodeArgs(args)}
}

func (s FileSource[T]) policy() filePolicy {
	if s.skipBad {
		return filePolicy{Bad: "skip", Max: s.badMax}
	}
	return filePolicy{}
}

func (s FileSource[T]) schema(j *Job, c *codec[T], name string) json.RawMessage {
	if !s.columns {
		return nil
	}
	schema, err := encodeColumns(c.schema)
	if err != nil {
		j.Errorf("%s: %v", name, err)
	}
	return schema
}

func (s FileSource[T]) topicArgs(j *Job, c *codec[T], uri string) topicSourceArgs {
	format, ok := topicFormats[s.format]
	if !ok {
		j.Errorf("Read %s: %s is a topic: its values can be read as Lines or FromJSONLines", s.format, uri)
	}
	if s.deadLetter != "" {
		j.Errorf("Read kafka: bad records of a topic have no place to go to: use SkipBad; the topic keeps them")
	}
	if len(s.options) > 0 {
		j.Errorf("Read kafka: the options of files mean nothing to a topic: %v", s.options)
	}
	return topicSourceArgs{URI: uri, Format: format, Policy: s.policy(), MaxRecordBytes: s.bytesMax, Schema: s.schema(j, c, "Read kafka")}
}
