package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

func init() {
	dataflow.RegisterSink(dataflow.SinkKind{
		Kind:    Kind,
		Summary: "a folder of files of a format",
		Build: func(args []byte) (dataflow.Sink, error) {
			var a SinkArgs
			if err := decodeStrict(args, &a); err != nil {
				return nil, &dataflow.Error{Op: "files.Sink", Kind: dataflow.User, Err: fmt.Errorf("arguments %s: %w", args, err)}
			}
			return NewSink(a)
		},
	})
}

// NewSink makes a sink from its arguments; wrong ones are an error of kind User.
func NewSink(a SinkArgs) (dataflow.Sink, error) {
	fail := func(err error) (dataflow.Sink, error) {
		return nil, &dataflow.Error{Op: "files.Sink", Path: a.Path, Kind: dataflow.User, Err: err}
	}
	if a.Path == "" {
		return fail(errors.New("no path is given"))
	}
	f, err := LookupFormat(a.Format)
	if err != nil {
		return nil, err
	}
	if err := checkPartitionBy(a.PartitionBy); err != nil {
		return fail(err)
	}
	if a.TargetBytes < 0 {
		return fail(fmt.Errorf("target_bytes is %d", a.TargetBytes))
	}
	s := &sink{path: a.Path, partitionBy: a.PartitionBy, target: a.TargetBytes}
	own, codec, err := cutCompression(a.Options)
	if err != nil {
		return fail(err)
	}
	// A format that compresses by itself gets the option, others never see it.
	w, err := f.Writer(WriteOptions{Options: own})
	if err != nil {
		return nil, err
	}
	if w.Compresses() {
		if w, err = f.Writer(WriteOptions{Options: a.Options}); err != nil {
			return nil, err
		}
	} else {
		s.codec = codec
		if _, err := compress(codec, io.Discard); err != nil {
			return fail(err)
		}
	}
	s.writer = w
	return s, nil
}

// cutCompression takes the option "compression" out of a format's options.
func cutCompression(options json.RawMessage) (json.RawMessage, Codec, error) {
	if len(options) == 0 {
		return nil, Plain, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(options, &m); err != nil {
		return nil, Plain, fmt.Errorf("options %s: %w", options, err)
	}
	var name string
	if raw, ok := m["compression"]; ok {
		if err := json.Unmarshal(raw, &name); err != nil {
			return nil, Plain, fmt.Errorf("option compression: %w", err)
		}
		delete(m, "compression")
	}
	if name == "none" {
		name = ""
	}
	rest, err := json.Marshal(m)
	return rest, Codec(name), err
}

type sink struct {
	path        string
	codec       Codec
	writer      Writer
	partitionBy []string
	target      int64 // bytes of a file; 0: any number
}

// TargetBytes implements dataflow.Sizer.
func (s *sink) TargetBytes() int64 { return s.target }

// prepared is what Prepare tells attempts and Publish.
type prepared struct {
	Base int `json:"base,omitempty"` // number of the first part
}

// successName marks an output as whole.
const successName = "_SUCCESS"

// Prepare implements dataflow.Sink. An output exists when its folder holds any
// file that is not hidden, or a _SUCCESS. Publish looks again: of several jobs
// that pass here at once, one wins there.
func (s *sink) Prepare(ctx context.Context, c dataflow.Commit) ([]byte, error) {
	ctx = advancing(ctx)
	fs, out, err := storage.Resolve(ctx, s.path)
	if err != nil {
		return nil, planningError("files.Prepare", s.path, err)
	}
	if _, ok := storage.As[storage.ConditionalCreator](fs); !ok {
		return nil, &dataflow.Error{Op: "files.Prepare", Path: s.path, Kind: dataflow.User,
			Err: fmt.Errorf("%w: the storage cannot create a file only if it is absent, so an output could not be committed safely", storage.ErrUnsupported)}
	}
	p := publisher{sink: s, fs: fs, out: out, commit: c}
	if m, err := p.readManifest(ctx); err != nil || m != nil {
		if err != nil {
			return nil, planningError("files.Prepare", s.path, err)
		}
		return json.Marshal(prepared{Base: m.Base}) // begun to publish before a crash
	}
	var prep prepared
	seen, err := p.visible(ctx)
	if err != nil {
		return nil, planningError("files.Prepare", s.path, err)
	}
	for _, name := range seen {
		if name == out {
			return nil, p.exists(name, "is a file", "name a folder, or remove the file")
		}
	}
	switch c.Mode {
	case dataflow.Fail, "":
		if len(seen) > 0 {
			return nil, p.exists(seen[0], "is there", "name another output, remove it, or run with --mode append or --mode replace")
		}
	case dataflow.Append:
		for _, name := range seen {
			if n, ok := partNumber(path.Base(name)); ok && n >= prep.Base {
				prep.Base = n + 1
			}
		}
	case dataflow.Replace:
	default:
		return nil, &dataflow.Error{Op: "files.Prepare", Path: s.path, Kind: dataflow.User, Err: fmt.Errorf("mode is %q (have fail, append, replace)", c.Mode)}
	}
	return json.Marshal(prep)
}

// partNumber is n of part-n with any suffix.
func partNumber(base string) (int, bool) {
	rest, ok := strings.CutPrefix(base, "part-")
	if !ok {
		return 0, false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, err := strconv.Atoi(rest[:end])
	return n, err == nil
}

// join is the name of something in a folder.
func join(folder, name string) string {
	if folder == "" || strings.HasSuffix(folder, "/") {
		return folder + name
	}
	return folder + "/" + name
}
