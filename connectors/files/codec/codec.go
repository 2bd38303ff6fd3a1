// Package codec compresses and decompresses streams of bytes, by the names that
// files end in: gzip, zstd, deflate, bzip2, lz4 and snappy, the latter two as Hadoop
// frames them and as their own tools do. Memory is bounded whatever the bytes claim.
package codec

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	dbzip2 "github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a way to compress a stream.
type Codec string

// The codecs. Lz4 and Snappy are written in Hadoop's framing and read in both;
// Lz4Frame and SnappyFrame are only written.
const (
	Plain       Codec = ""
	Gzip        Codec = "gzip"
	Zstd        Codec = "zstd"
	Deflate     Codec = "deflate" // zlib, as Hadoop's DefaultCodec
	Bzip2       Codec = "bzip2"
	Lz4         Codec = "lz4"
	Snappy      Codec = "snappy"
	Lz4Frame    Codec = "lz4-frame"
	SnappyFrame Codec = "snappy-frame"
)

var suffixes = map[Codec][]string{ // the first is the one that is written
	Gzip: {".gz", ".gzip"}, Zstd: {".zst", ".zstd"}, Deflate: {".deflate"}, Bzip2: {".bz2"},
	Lz4: {".lz4"}, Snappy: {".snappy", ".sz"}, Lz4Frame: {".lz4"}, SnappyFrame: {".sz"},
}

// Of is the codec of a file by its name; of codecs with one suffix the first in order.
func Of(name string) Codec {
	ext := strings.ToLower(path.Ext(name))
	for _, c := range []Codec{Gzip, Zstd, Deflate, Bzip2, Lz4, Snappy} {
		if ext != "" && slices.Contains(suffixes[c], ext) {
			return c
		}
	}
	return Plain
}

// Suffix is what the name of a compressed file ends in, with its dot.
func Suffix(c Codec) string {
	if s := suffixes[c]; len(s) > 0 {
		return s[0]
	}
	return ""
}

// Names are all codecs that can be asked for, for messages.
const Names = "none, gzip, zstd, deflate, bzip2, lz4, lz4-frame, snappy, snappy-frame"

// zstdMemoryMax bounds what a decoder allocates for a window that a frame's header
// asks for.
const zstdMemoryMax = 128 << 20

// ErrChecksum is wrapped when what was decompressed is not what was compressed.
var ErrChecksum = errors.New("its checksum does not match")

// NewReader decompresses r: several members or frames one after the other are one
// stream, as the tools have it. r stays open.
func NewReader(c Codec, r io.Reader) (io.ReadCloser, error) {
	switch c {
	case Plain:
		return io.NopCloser(r), nil
	case Gzip:
		z, ok := gzips.Get().(*gzip.Reader)
		if !ok {
			z = new(gzip.Reader)
		}
		if err := z.Reset(r); err != nil {
			return nil, named(err)
		}
		return &reader{r: z, free: func() { gzips.Put(z) }}, nil
	case Zstd:
		z, ok := zstds.Get().(*zstd.Decoder)
		if !ok {
			var err error
			if z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMemoryMax), zstd.WithDecoderMaxWindow(zstdMemoryMax)); err != nil {
				return nil, err
			}
		}
		if err := z.Reset(r); err != nil {
			return nil, named(err)
		}
		return &reader{r: z, free: func() {
			_ = z.Reset(nil)
			zstds.Put(z)
		}}, nil
	case Deflate:
		return &reader{r: &zlibs{src: bufio.NewReader(r)}}, nil
	case Bzip2:
		return &reader{r: bzip2.NewReader(bufio.NewReader(r))}, nil
	case Lz4, Lz4Frame:
		src := bufio.NewReaderSize(r, 64<<10)
		if head, _ := src.Peek(4); bytes.Equal(head, []byte{0x04, 0x22, 0x4d, 0x18}) {
			return &reader{r: &lz4Frames{src: src}}, nil
		}
		return &reader{r: &blockReader{src: src, decode: decodeLz4}}, nil
	case Snappy, SnappyFrame:
		src := bufio.NewReaderSize(r, 64<<10)
		if head, _ := src.Peek(10); string(head) == "\xff\x06\x00\x00sNaPpY" {
			return &reader{r: snappy.NewReader(src)}, nil
		}
		return &reader{r: &blockReader{src: src, decode: decodeSnappy}}, nil
	}
	return nil, unknown(c)
}

var gzips, zstds, inflaters sync.Pool

func unknown(c Codec) error {
	return fmt.Errorf("compression %q is unknown (have %s)", c, Names)
}

// reader gives errors their names, and its decoder back when it is closed.
type reader struct {
	r    io.Reader
	free func()
}

func (r *reader) Read(p []byte) (int, error) {
	if r.r == nil {
		return 0, errors.New("the reader is closed")
	}
	n, err := r.r.Read(p)
	return n, named(err)
}

func (r *reader) Close() error {
	if r.free != nil {
		r.free()
	}
	r.r, r.free = nil, nil
	return nil
}

// named makes one error of the libraries' several.
func named(err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zlib.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch):
		return fmt.Errorf("%w: %w", ErrChecksum, err)
	}
	if s, ok := errors.AsType[bzip2.StructuralError](err); ok && strings.Contains(string(s), "checksum") {
		return fmt.Errorf("%w: %w", ErrChecksum, err)
	}
	return err
}

// zlibs reads zlib streams one after the other.
type zlibs struct {
	src *bufio.Reader
	z   io.ReadCloser
}

func (s *zlibs) Read(p []byte) (int, error) {
	for {
		if s.z == nil {
			if _, err := s.src.Peek(1); err != nil {
				return 0, err
			}
			z, ok := inflaters.Get().(io.ReadCloser)
			var err error
			if ok {
				err = z.(zlib.Resetter).Reset(s.src, nil)
			} else {
				z, err = zlib.NewReader(s.src)
			}
			if err != nil {
				return 0, noEOF(err)
			}
			s.z = z
		}
		n, err := s.z.Read(p)
		if err == io.EOF {
			inflaters.Put(s.z)
			s.z, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, noEOF(err)
		}
	}
}

// lz4Frames reads frames one after the other.
type lz4Frames struct {
	src *bufio.Reader
	z   *lz4.Reader
}

func (s *lz4Frames) Read(p []byte) (int, error) {
	for {
		if s.z == nil {
			if _, err := s.src.Peek(1); err != nil {
				return 0, err
			}
			s.z = lz4.NewReader(s.src)
		}
		n, err := s.z.Read(p)
		if err == io.EOF {
			s.z, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// noEOF is for places where the stream may not end.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// NewWriter compresses to w. Close ends the stream and leaves w open.
func NewWriter(c Codec, w io.Writer) (io.WriteCloser, error) {
	switch c {
	case Plain:
		return nopCloser{w}, nil
	case Gzip:
		return gzip.NewWriterLevel(w, gzip.DefaultCompression)
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithZeroFrames(true))
	case Deflate:
		return zlib.NewWriterLevel(w, zlib.DefaultCompression)
	case Bzip2:
		return dbzip2.NewWriter(w, &dbzip2.WriterConfig{Level: dbzip2.BestCompression})
	case Lz4:
		var z lz4.Compressor
		return &blockWriter{w: w, encode: func(dst, src []byte) ([]byte, error) {
			dst = slices.Grow(dst[:0], lz4.CompressBlockBound(len(src)))
			dst = dst[:cap(dst)]
			n, err := z.CompressBlock(src, dst)
			return dst[:n], cmp.Or(err, empty(n))
		}}, nil
	case Snappy:
		return &blockWriter{w: w, encode: func(dst, src []byte) ([]byte, error) {
			return snappy.Encode(dst[:cap(dst)], src), nil
		}}, nil
	case Lz4Frame:
		return lz4.NewWriter(w), nil
	case SnappyFrame:
		return snappy.NewBufferedWriter(w), nil
	}
	return nil, unknown(c)
}

// empty is an encoder's way to say that it had too little room, which cannot be.
func empty(n int) error {
	if n == 0 {
		return errors.New("the block did not fit its bound")
	}
	return nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
