package files

import (
	"errors"
	"fmt"
	"io"

	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
)

// decompress reads several members or frames one after the other, as the tools do.
func decompress(c Codec, raw *storedReader, path string) (io.ReadCloser, error) {
	d := &decompressor{path: path, codec: c, raw: raw}
	if raw.size == 0 { // no member at all: an empty file, as gzip takes it
		d.r = io.NopCloser(raw)
		return d, nil
	}
	var err error
	if d.r, err = codec.NewReader(c, raw); err != nil {
		return nil, d.explain(err)
	}
	return d, nil
}

// decompressRange reads the parts of a compressed file that belong to a range.
func decompressRange(in *Input, raw *storedReader) (*decompressor, codec.Range, error) {
	d := &decompressor{path: in.Path, codec: in.Codec, raw: raw}
	r, err := codec.OpenRange(in.Codec, raw, in.Size, in.Offset, in.End())
	if err != nil {
		return nil, nil, d.explain(err)
	}
	d.r = r
	return d, r, nil
}

type decompressor struct {
	path  string
	codec Codec
	raw   *storedReader
	r     io.ReadCloser
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	return n, err
}

func (d *decompressor) Close() error { return d.r.Close() }

// explain tells a failing store from bytes that do not decompress.
func (d *decompressor) explain(err error) error {
	if d.raw.err != nil {
		return d.raw.err
	}
	if !errors.Is(err, codec.ErrChecksum) {
		err = fmt.Errorf("not a whole %s file: %w", d.codec, err)
	}
	return &dataflow.Error{Op: "files.decompress", Path: fmt.Sprintf("%s:%d", d.path, d.raw.pos), Kind: dataflow.User,
		Err: fmt.Errorf("%w: %w", dataflow.ErrMalformed, err)}
}

// compress wraps w; the result's Close ends the stream and leaves w open. A file of
// zstd can be read in ranges.
func compress(c Codec, w io.Writer) (io.WriteCloser, error) {
	if c == codec.Zstd {
		return codec.NewFrameWriter(w)
	}
	return codec.NewWriter(c, w)
}
