package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// decompressor undoes the compression of a batch of records, which may not become
// larger than max bytes: a kilobyte can say that it stands for gigabytes. It is used
// by one goroutine.
type decompressor struct {
	max  int64
	zstd *zstd.Decoder
}

var errCompressed = errors.New("compressed records cannot be read")

// Decompress implements kgo.Decompressor.
func (d *decompressor) Decompress(src []byte, codec kgo.CompressionCodecType) (out []byte, err error) {
	switch codec {
	case kgo.CodecNone:
		return src, nil
	case kgo.CodecGzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errCompressed, err)
		}
		return d.readAll(r)
	case kgo.CodecLz4:
		return d.readAll(lz4.NewReader(bytes.NewReader(src)))
	case kgo.CodecSnappy:
		return d.snappy(src)
	case kgo.CodecZstd:
		if d.zstd == nil {
			if d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(d.max))); err != nil {
				return nil, err
			}
		}
		out, err := d.zstd.DecodeAll(src, nil)
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
			return nil, kgo.ErrMaxDecompress
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errCompressed, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: codec %d is not known", errCompressed, codec)
}

func (d *decompressor) readAll(r io.Reader) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, d.max+1))
	if int64(len(out)) > d.max {
		return nil, kgo.ErrMaxDecompress
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCompressed, err)
	}
	return out, nil
}

// xerial begins the framing that Java's snappy library puts around its blocks:
// 16 bytes of header, then blocks, each after its length.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

func (d *decompressor) snappy(src []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, xerial) {
		return d.block(nil, src)
	}
	if len(src) < 16 {
		return nil, errCompressed
	}
	var out []byte
	for rest := src[16:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, errCompressed
		}
		n := int64(binary.BigEndian.Uint32(rest))
		if rest = rest[4:]; n > int64(len(rest)) {
			return nil, errCompressed
		}
		var err error
		if out, err = d.block(out, rest[:n]); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return out, nil
}

// block appends what one snappy block stands for.
func (d *decompressor) block(out, src []byte) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCompressed, err)
	}
	if int64(len(out))+int64(n) > d.max {
		return nil, kgo.ErrMaxDecompress
	}
	b, err := s2.Decode(nil, src)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCompressed, err)
	}
	if out == nil {
		return b, nil
	}
	return append(out, b...), nil
}

func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}
