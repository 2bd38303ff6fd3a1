package files

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/divisi-data/divisi/dataflow"
)

// zstdMemoryMax bounds what a decoder allocates for a window that a file's header
// asks for.
const zstdMemoryMax = 128 << 20

// decompress reads several members or frames one after the other, as the tools do.
func decompress(c Codec, raw *storedReader, path string) (io.ReadCloser, error) {
	d := &decompressor{path: path, codec: c, raw: raw}
	switch c {
	case Gzip:
		if raw.size == 0 { // no member at all: an empty file, as gzip takes it
			d.r = raw
			return d, nil
		}
		z, err := kgzip.NewReader(raw)
		if err != nil {
			return nil, d.explain(err)
		}
		d.r, d.close = z, func() { z.Close() }
	case Zstd:
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMemoryMax), zstd.WithDecoderMaxWindow(zstdMemoryMax))
		if err != nil {
			return nil, d.explain(err)
		}
		d.r, d.close = z, z.Close
	default:
		return nil, fmt.Errorf("codec %q is unknown", c)
	}
	return d, nil
}

type decompressor struct {
	path  string
	codec Codec
	raw   *storedReader
	r     io.Reader
	close func()
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	return n, err
}

func (d *decompressor) Close() error {
	if d.close != nil {
		d.close()
		d.close = nil
	}
	return nil
}

// explain tells a failing store from bytes that do not decompress.
func (d *decompressor) explain(err error) error {
	if d.raw.err != nil {
		return d.raw.err
	}
	cause := "not a whole " + string(d.codec) + " file"
	if errors.Is(err, gzip.ErrChecksum) || errors.Is(err, kgzip.ErrChecksum) || errors.Is(err, zstd.ErrCRCMismatch) {
		cause = "its checksum does not match"
	}
	return &dataflow.Error{Op: "files.decompress", Path: fmt.Sprintf("%s:%d", d.path, d.raw.pos), Kind: dataflow.User,
		Err: fmt.Errorf("%w: %s: %w", dataflow.ErrMalformed, cause, err)}
}

// compress wraps w; the result's Close ends the stream and leaves w open.
func compress(c Codec, w io.Writer) (io.WriteCloser, error) {
	switch c {
	case Plain:
		return nopWriteCloser{w}, nil
	case Gzip:
		return kgzip.NewWriterLevel(w, kgzip.DefaultCompression)
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithZeroFrames(true))
	}
	return nil, fmt.Errorf("compression %q is unknown (have none, gzip, zstd)", c)
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

func codecSuffix(c Codec) string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}
