package dataflow

import "strings"

// A SinkSpec says where rows are written and how, for Write.
type SinkSpec[T any] interface {
	sink(j *Job, c *codec[T]) (name string, ref Ref)
}

// Write sends d's rows to a sink. A job may write several datasets, and one
// dataset several times. Nobody sees any of it before the job has succeeded.
func Write[T any](d Dataset[T], s SinkSpec[T]) {
	in := d.node
	if a, ok := s.(arranger); ok && d.codec != nil {
		in = a.arrange(d.j, in)
	}
	n := &Node{Kind: SinkNode, Name: "Write", In: []*Node{in}}
	if d.codec != nil {
		n.Name, n.Ref = s.sink(d.j, d.codec)
	}
	d.j.add(n)
}

// An arranger is a SinkSpec that wants the rows in some order or in some tasks.
type arranger interface {
	arrange(j *Job, in *Node) *Node
}

type customSink[T any] struct {
	kind string
	args any
}

func (s customSink[T]) sink(*Job, *codec[T]) (string, Ref) {
	return "Write " + s.kind, Ref{Kind: s.kind, Args: encodeArgs(s.args)}
}

// CustomSink writes to a sink of a kind that was registered with RegisterSink. args
// become its arguments, as JSON.
func CustomSink[T any](kind string, args any) SinkSpec[T] { return customSink[T]{kind, args} }

// A FileSink writes a folder of files: part-00000 and so on, one per task unless
// PartitionBy or TargetSize says otherwise, and _SUCCESS last.
type FileSink[T any] struct {
	path        string
	format      string
	options     options
	partitionBy []string
	target      int64 // bytes, 0: any number
}

// fileSinkArgs are the arguments of the sink of kind "files".
type fileSinkArgs struct {
	Path        string   `json:"path"`
	Format      string   `json:"format"`
	Options     options  `json:"options,omitempty"`
	PartitionBy []string `json:"partition_by,omitempty"`
	TargetBytes int64    `json:"target_bytes,omitempty"`
}

// Text writes each string as a line.
func Text(path string) FileSink[string] { return FileSink[string]{path: path, format: "text"} }

// TSV writes a line per row, columns separated by tabs. A path
// "kafka://host:port/topic" writes each row to a topic instead: of a Pair, the key
// is the record's key and the value its value.
func TSV[T any](path string) FileSink[T] { return FileSink[T]{path: path, format: "tsv"} }

// CSV writes comma-separated values.
func CSV[T any](path string) FileSink[T] { return FileSink[T]{path: path, format: "csv"} }

// JSONLines writes a JSON object per line; to a topic, one per record.
func JSONLines[T any](path string) FileSink[T] { return FileSink[T]{path: path, format: "jsonl"} }

// Parquet writes Parquet files.
func Parquet[T any](path string) FileSink[T] { return FileSink[T]{path: path, format: "parquet"} }

// ArrowFile writes Arrow IPC files.
func ArrowFile[T any](path string) FileSink[T] { return FileSink[T]{path: path, format: "arrow"} }

// Avro writes Avro container files.
func Avro[T any](path string) FileSink[T] { return FileSink[T]{path: path, format: "avro"} }

// SequenceFile writes Hadoop's SequenceFiles, in the classes that are like K and V;
// compressed in blocks where Compress says so.
func SequenceFile[K, V any](path string) FileSink[Pair[K, V]] {
	return FileSink[Pair[K, V]]{path: path, format: "sequencefile"}
}

// Records writes binary records of a fixed length, key first.
func Records(keyBytes, recordBytes int, path string) FileSink[Record] {
	return FileSink[Record]{path: path, format: "fixed", options: recordOptions(keyBytes, recordBytes)}
}

// Compression is how files are compressed. Parquet, Arrow, Avro and SequenceFiles
// compress inside of a file, and not in every way. Lz4 and Snappy are in Hadoop's
// framing.
type Compression struct{ name string }

// The kinds of compression.
var (
	Uncompressed = Compression{"none"}
	Gzip         = Compression{"gzip"}
	Zstd         = Compression{"zstd"}
	Deflate      = Compression{"deflate"}
	Bzip2        = Compression{"bzip2"}
	Lz4          = Compression{"lz4"}
	Snappy       = Compression{"snappy"}
)

// Compress says how the files are compressed.
func (s FileSink[T]) Compress(how Compression) FileSink[T] { return s.Option("compression", how.name) }

// Option sets an option of the format, by the format's name for it.
func (s FileSink[T]) Option(name string, value any) FileSink[T] {
	s.options = s.options.with(name, value)
	return s
}

// topicSinkArgs are the arguments of the sink of kind "kafka".
type topicSinkArgs struct {
	URI     string  `json:"uri"`
	Options options `json:"options,omitempty"`
}

// topicArgs: of lines and of tab-separated columns the topic gets the columns,
// of JSON lines an object per record. The sink's own options are the file's.
func (s FileSink[T]) topicArgs(j *Job) topicSinkArgs {
	args := topicSinkArgs{URI: s.path, Options: s.options}
	switch s.format {
	case "text", "tsv":
	case "jsonl":
		args.Options = s.options.with("format", "json")
	default:
		j.Errorf("Write %s: %s is a topic: it is written as Text, TSV or JSONLines", s.format, s.path)
	}
	if len(s.partitionBy) > 0 || s.target != 0 {
		j.Errorf("Write kafka: a topic has neither folders nor files: PartitionBy and TargetSize mean nothing there")
	}
	return args
}

func (s FileSink[T]) sink(j *Job, c *codec[T]) (string, Ref) {
	if strings.HasPrefix(s.path, topicScheme) {
		return "Write kafka", Ref{Kind: "kafka", Args: encodeArgs(s.topicArgs(j))}
	}
	if s.path == "" && !j.missing { // else it was said
		j.Errorf("Write %s: no path is given", s.format)
	}
	return "Write " + s.format, Ref{Kind: "files", Args: encodeArgs(fileSinkArgs{s.path, s.format, s.options, s.partitionBy, s.target})}
}
