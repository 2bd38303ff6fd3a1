package files

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

func init() {
	dataflow.RegisterSource(dataflow.SourceKind{
		Kind:    Kind,
		Summary: "files of a format: paths, folders, globs",
		Build: func(args []byte) (dataflow.Source, error) {
			var a SourceArgs
			if err := decodeStrict(args, &a); err != nil {
				return nil, &dataflow.Error{Op: "files.Source", Kind: dataflow.User, Err: fmt.Errorf("arguments %s: %w", args, err)}
			}
			return NewSource(a)
		},
	})
}

// NewSource makes a source from its arguments; wrong ones are an error of kind User.
func NewSource(a SourceArgs) (dataflow.Source, error) {
	fail := func(format string, args ...any) (dataflow.Source, error) {
		return nil, &dataflow.Error{Op: "files.Source", Kind: dataflow.User, Err: fmt.Errorf(format, args...)}
	}
	if len(a.Paths) == 0 {
		return fail("no paths are given")
	}
	switch a.Policy.Bad {
	case "", "fail", "skip", onlyBad:
	default:
		return fail("policy for bad records is %q (have fail, skip, only)", a.Policy.Bad)
	}
	if a.MaxRecordBytes < 0 || a.MaxRecordBytes > maxRecordBytesMax {
		return fail("max_record_bytes is %d, may be at most %d", a.MaxRecordBytes, maxRecordBytesMax)
	}
	if a.MaxRecordBytes == 0 {
		a.MaxRecordBytes = DefaultMaxRecordBytes
	}
	f, err := LookupFormat(a.Format)
	if err != nil {
		return nil, err
	}
	s := &source{args: a}
	if len(a.Schema) > 0 {
		if s.given, err = DecodeSchema(a.Schema); err != nil {
			return fail("schema: %w", err)
		}
	}
	o := ReadOptions{Options: a.Options, Schema: s.given, Columns: a.Columns, Predicate: a.Predicate}
	if len(a.Partitions) > 0 {
		s.reader, err = newPartitioned(f, o, a.Partitions)
	} else {
		s.reader, err = f.Reader(o)
	}
	if err != nil {
		return nil, err
	}
	if a.Policy.Bad == onlyBad {
		return rejects{s}, nil
	}
	return s, nil
}

type source struct {
	args   SourceArgs
	given  *arrow.Schema
	reader Reader
}

// Schema implements dataflow.Source.
func (s *source) Schema(ctx context.Context) (*arrow.Schema, error) {
	return s.reader.Schema(ctx, func() (*Input, error) {
		found, err := expand(ctx, s.args.Paths)
		if err != nil {
			return nil, err
		}
		for _, f := range found { // an empty file says nothing about its columns
			if f.size > 0 {
				return s.openPiece(ctx, f.whole(), nil)
			}
		}
		return nil, &dataflow.Error{Op: "files.Schema", Path: s.args.Paths[0], Kind: dataflow.User,
			Err: fmt.Errorf("%w: every file is empty", dataflow.ErrNoInput), Try: "give the schema"}
	})
}

// payload is what a split says to Open.
type payload struct {
	Pieces []piece `json:"pieces"`
	// Schema is what the planning task inferred, so that all tasks read alike.
	Schema json.RawMessage `json:"schema,omitempty"`
}

// piece is a range of a file.
type piece struct {
	URI    string `json:"uri"`
	Offset int64  `json:"off,omitempty"`
	Bytes  int64  `json:"len,omitempty"`
	Size   int64  `json:"size"` // of the whole file while planning
	ETag   string `json:"etag,omitempty"`
}

// Splits implements dataflow.Source.
func (s *source) Splits(ctx context.Context, hint dataflow.SplitHint) ([]dataflow.Split, error) {
	ctx = advancing(ctx)
	found, err := expand(ctx, s.args.Paths)
	if err != nil {
		return nil, err
	}
	var schema json.RawMessage
	if s.given == nil && anyBytes(found) {
		inferred, err := s.Schema(ctx)
		if err != nil {
			return nil, err
		}
		// A type that has no name in the list of columns is found again in each file.
		schema, _ = EncodeSchema(inferred)
	}
	if p, ok := s.reader.(partitioned); ok {
		if found, err = p.prune(found); err != nil {
			return nil, err
		}
	}
	return s.cut(ctx, found, schema, hint)
}

func anyBytes(found []foundFile) bool {
	for _, f := range found {
		if f.size > 0 {
			return true
		}
	}
	return false
}

// Open implements dataflow.Source.
func (s *source) Open(env *dataflow.Env, split dataflow.Split) (dataflow.Stream, error) {
	return s.open(env, split, s.onBad(env))
}

// open opens a split; onBad decides about bad records, nil: they are failures.
func (s *source) open(env *dataflow.Env, split dataflow.Split, onBad func(BadRecord) error) (dataflow.Stream, error) {
	var p payload
	if err := json.Unmarshal(split.Payload, &p); err != nil {
		return nil, &dataflow.Error{Op: "files.Open", Path: split.ID, Kind: dataflow.Fatal, Err: fmt.Errorf("payload of the split: %w", err)}
	}
	st := &stream{env: env, source: s, onBad: onBad, all: p.Pieces, todo: p.Pieces, encoded: p.Schema, id: split.ID}
	for _, q := range p.Pieces {
		st.total += q.Bytes
	}
	if len(p.Schema) > 0 {
		schema, err := DecodeSchema(p.Schema)
		if err != nil {
			return nil, &dataflow.Error{Op: "files.Open", Path: split.ID, Kind: dataflow.Fatal, Err: err}
		}
		st.schema = schema
	} else if len(p.Pieces) > 0 {
		schema, err := s.Schema(env.Context)
		if err != nil {
			return nil, err
		}
		st.schema = schema
	}
	return st, nil
}

// openPiece opens a piece's file and checks that it is still what was planned.
func (s *source) openPiece(ctx context.Context, p piece, onBad func(BadRecord) error) (*Input, error) {
	fs, name, err := storage.Resolve(ctx, p.URI)
	if err != nil {
		return nil, storageError("files.Open", p.URI, err)
	}
	f, err := storage.OpenKnown(ctx, fs, storage.Info{Name: name, Size: p.Size, ETag: p.ETag})
	if err != nil {
		return nil, storageError("files.Open", p.URI, err)
	}
	if f.Size() != p.Size {
		size := f.Size()
		f.Close()
		return nil, &dataflow.Error{Op: "files.Open", Path: p.URI, Kind: dataflow.User,
			Err: fmt.Errorf("%w: it has %d bytes, had %d", ErrInputChanged, size, p.Size),
			Try: tryQuiet}
	}
	in := &Input{Path: p.URI, File: f, Size: p.Size, Offset: p.Offset, Length: p.Bytes,
		Codec: CodecOf(name), MaxRecordBytes: s.args.MaxRecordBytes, OnBad: onBad}
	return in, nil
}

// onBad counts bad records and fails when there are too many; nil where the first one
// is a failure.
func (s *source) onBad(env *dataflow.Env) func(BadRecord) error {
	if s.args.Policy.Bad != "skip" {
		return nil
	}
	count := env.Counters.Get("files.bad_records")
	return func(b BadRecord) error {
		count.Inc()
		if n := count.Value(); s.args.Policy.Max > 0 && n > s.args.Policy.Max {
			return &dataflow.Error{Op: "files.Read", Kind: dataflow.User,
				Err: fmt.Errorf("%d bad records, the policy skips %d in a task; the last: %w", n, s.args.Policy.Max, b.Err)}
		}
		if env.Log != nil {
			env.Log.Warn("skipped a bad record", "err", b.Err)
		}
		return nil
	}
}
