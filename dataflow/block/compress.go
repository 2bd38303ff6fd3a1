package block

import (
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// compressor holds the state of one goroutine's compression; made on first use.
type compressor struct {
	lz4  lz4.Compressor
	zstd *zstd.Encoder
}

// compress appends the compressed src to dst, or reports false and leaves dst as
// it was where that would not be smaller.
func (c *compressor) compress(dst []byte, codec Codec, src []byte) ([]byte, bool, error) {
	start := len(dst)
	switch codec {
	case LZ4:
		dst = grow(dst, lz4.CompressBlockBound(len(src)))
		n, err := c.lz4.CompressBlock(src, dst[start:])
		if err != nil {
			return dst[:start], false, err
		}
		dst = dst[:start+n]
	case Zstd:
		if c.zstd == nil {
			var err error
			c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
			if err != nil {
				return dst, false, err
			}
		}
		dst = c.zstd.EncodeAll(src, dst)
	default:
		return dst, false, nil
	}
	if n := len(dst) - start; n == 0 || n >= len(src) {
		return dst[:start], false, nil
	}
	return dst, true, nil
}

// decompressor is compressor's other half.
type decompressor struct{ zstd *zstd.Decoder }

// decompress fills dst from src: exactly, or with an error of kind Corrupt. It
// never writes past dst and never holds more than its window beside it.
func (d *decompressor) decompress(dst []byte, codec Codec, src []byte) error {
	n := 0
	switch codec {
	case LZ4:
		var err error
		if n, err = lz4.UncompressBlock(src, dst); err != nil {
			return corrupt("lz4: %w", err)
		}
	case Zstd:
		if d.zstd == nil {
			var err error
			d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxBody),
				zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return err
			}
		}
		out, err := d.zstd.DecodeAll(src, dst[:0:len(dst)])
		if err != nil {
			return corrupt("zstd: %w", err)
		}
		n = len(out)
	}
	if n != len(dst) {
		return corrupt("%s: body decompresses to %d bytes, its header says %d", codec, n, len(dst))
	}
	return nil
}

func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
		d.zstd = nil
	}
}

// grow extends b by n bytes of any content.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	// A half more than asked: frames of one stream vary around a size.
	next := make([]byte, len(b)+n, (len(b)+n)*3/2)
	copy(next, b)
	return next
}
