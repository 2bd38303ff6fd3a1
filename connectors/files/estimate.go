package files

import (
	"bytes"
	"context"
	"io"
)

// A RowCounter is a Reader that finds out how many records a whole file has without
// reading them. in stays the caller's.
type RowCounter interface {
	CountRows(ctx context.Context, in *Input) (int64, error)
}

const (
	estimateFiles = 16       // files that are looked at
	estimateBytes = 64 << 10 // of each one of lines
)

// EstimateRows implements dataflow.RowEstimator: by what some of the files say of
// themselves, or by how long their first lines are, and the bytes of all. Of compressed
// lines and other formats it has no idea.
func (s *source) EstimateRows(ctx context.Context) (float64, error) {
	found, err := expand(ctx, s.args.Paths)
	if err != nil {
		return 0, err
	}
	if p, ok := s.reader.(partitioned); ok {
		if found, err = p.prune(found); err != nil {
			return 0, err
		}
	}
	count := s.countOf()
	if count == nil {
		return 0, nil
	}
	var all, looked, rows float64
	for _, f := range found {
		all += float64(f.size)
	}
	for i := 0; i < len(found); i += max(1, len(found)/estimateFiles) {
		f := found[i]
		if f.size == 0 {
			continue
		}
		in, err := s.openPiece(ctx, f.whole(), nil)
		if err != nil {
			return 0, err
		}
		n, of, err := count(ctx, in)
		if cerr := in.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return 0, err
		}
		rows, looked = rows+n, looked+of
	}
	if looked == 0 {
		return 0, nil
	}
	return max(1, rows*all/looked), nil
}

// countOf is what counts records in some bytes of a file of the source's format, nil if
// nothing does.
func (s *source) countOf() func(ctx context.Context, in *Input) (rows, of float64, err error) {
	reader := s.reader
	if p, ok := reader.(partitioned); ok {
		reader = p.Reader
	}
	if c, ok := reader.(RowCounter); ok {
		return func(ctx context.Context, in *Input) (float64, float64, error) {
			n, err := c.CountRows(ctx, in)
			return float64(n), float64(in.Size), err
		}
	}
	if _, lines := reader.(LineReader); lines { // also where a line break may be quoted
		return countLines
	}
	return nil
}

// countLines counts the lines at the beginning of a file.
func countLines(_ context.Context, in *Input) (rows, of float64, err error) {
	if in.Codec != Plain {
		return 0, 0, nil
	}
	b := make([]byte, min(estimateBytes, in.Size))
	n, err := in.File.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return 0, 0, in.Fail("files.Estimate", 0, err)
	}
	lines := bytes.Count(b[:n], []byte("\n"))
	if n > 0 && int64(n) == in.Size && b[n-1] != '\n' {
		lines++
	}
	return float64(lines), float64(n), nil
}
