package codec

import (
	"bytes"
	"io"
)

// A Compressor compresses one piece after the other, each by itself. It keeps what its
// codec allocates, so many small pieces are cheap. Used by one goroutine.
type Compressor struct {
	codec Codec
	out   bytes.Buffer
	w     io.WriteCloser
}

// NewCompressor makes a compressor of a codec.
func NewCompressor(c Codec) (*Compressor, error) {
	z := &Compressor{codec: c}
	var err error
	z.w, err = NewWriter(c, &z.out)
	return z, err
}

// Compress is the compressed form of a piece, until the next one.
func (z *Compressor) Compress(piece []byte) ([]byte, error) {
	z.out.Reset()
	switch w := z.w.(type) {
	case interface{ Reset(io.Writer) }:
		w.Reset(&z.out)
	case interface{ Reset(io.Writer) error }:
		if err := w.Reset(&z.out); err != nil {
			return nil, err
		}
	default:
		var err error
		if z.w, err = NewWriter(z.codec, &z.out); err != nil {
			return nil, err
		}
	}
	if _, err := z.w.Write(piece); err != nil {
		return nil, err
	}
	if err := z.w.Close(); err != nil {
		return nil, err
	}
	return z.out.Bytes(), nil
}
