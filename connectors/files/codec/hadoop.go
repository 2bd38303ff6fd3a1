package codec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"
)

// Hadoop frames what compresses only whole blocks: the length of a block's bytes
// (4 bytes, big-endian), then chunks until there are as many, each with the length of
// what is stored (4 bytes) before it.

const (
	// blockWritten fits, compressed badly or well, into the 256 KiB that Hadoop's
	// decoders reserve unless they are told otherwise.
	blockWritten = 192 << 10
	// blockReadMax bounds a block, stored and not: Hadoop's writers have a buffer of
	// that size, 256 KiB unless they are told otherwise.
	blockReadMax = 64 << 20
)

// blockReader reads Hadoop's framing.
type blockReader struct {
	src    *bufio.Reader
	decode func(dst, src []byte, most int) ([]byte, error)

	left   int // of the block, not yet decoded
	stored []byte
	plain  []byte
	at     int // of plain
	err    error
}

func (r *blockReader) Read(p []byte) (int, error) {
	for r.err == nil && r.at == len(r.plain) && len(p) > 0 {
		r.err = r.chunk()
	}
	if r.at < len(r.plain) {
		n := copy(p, r.plain[r.at:])
		r.at += n
		return n, nil
	}
	return 0, r.err
}

// chunk decodes the next chunk.
func (r *blockReader) chunk() error {
	r.plain, r.at = r.plain[:0], 0
	for r.left == 0 {
		n, err := r.length()
		if err != nil {
			return err // EOF is right here
		}
		r.left = n
	}
	n, err := r.length()
	if err != nil {
		return noEOF(err)
	}
	if r.stored, err = readGrowing(r.src, r.stored[:0], n); err != nil {
		return err
	}
	if r.plain, err = r.decode(r.plain, r.stored, r.left); err != nil {
		return err
	}
	if len(r.plain) == 0 && n > 1 || len(r.plain) > r.left {
		return fmt.Errorf("a chunk holds %d bytes, its block has %d left", len(r.plain), r.left)
	}
	r.left -= len(r.plain)
	return nil
}

func (r *blockReader) length() (int, error) {
	var b [4]byte
	if _, err := io.ReadFull(r.src, b[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(b[:])
	if n > blockReadMax {
		return 0, fmt.Errorf("a block claims %d bytes, more than %d: is it in Hadoop's framing?", n, blockReadMax)
	}
	return int(n), nil
}

// readGrowing reads n bytes and allocates only as they come: the number may be a lie.
func readGrowing(src io.Reader, buf []byte, n int) ([]byte, error) {
	for len(buf) < n {
		step := min(n-len(buf), max(64<<10, len(buf)))
		at := len(buf)
		buf = append(buf, make([]byte, step)...)
		if _, err := io.ReadFull(src, buf[at:]); err != nil {
			return buf, noEOF(err)
		}
	}
	return buf, nil
}

func decodeSnappy(dst, src []byte, most int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, fmt.Errorf("a chunk claims %d bytes, its block has %d left", n, most)
	}
	return snappy.Decode(dst[:cap(dst)], src)
}

func decodeLz4(dst, src []byte, most int) ([]byte, error) {
	most = min(most, 255*len(src)+16) // no block says more with fewer bytes
	if cap(dst) < most {
		dst = make([]byte, most)
	}
	dst = dst[:most]
	if len(src) == 0 {
		return nil, errors.New("a chunk without bytes")
	}
	n, err := lz4.UncompressBlock(src, dst)
	return dst[:max(0, n)], err
}

// blockWriter writes Hadoop's framing, one chunk a block.
type blockWriter struct {
	w      io.Writer
	encode func(dst, src []byte) ([]byte, error)
	plain  []byte
	stored []byte
	any    bool
	err    error
}

func (b *blockWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) && b.err == nil {
		n := min(len(p)-done, blockWritten-len(b.plain))
		b.plain = append(b.plain, p[done:done+n]...)
		done += n
		if len(b.plain) == blockWritten {
			b.err = b.flush()
		}
	}
	return done, b.err
}

func (b *blockWriter) flush() error {
	var err error
	if b.stored, err = b.encode(b.stored, b.plain); err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b.plain)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(b.stored)))
	b.plain, b.any = b.plain[:0], true
	if _, err := b.w.Write(head); err != nil {
		return err
	}
	_, err = b.w.Write(b.stored)
	return err
}

// Close writes what is left; a stream of no bytes is a block of none.
func (b *blockWriter) Close() error {
	if b.err != nil {
		return b.err
	}
	switch {
	case len(b.plain) > 0:
		b.err = b.flush()
	case !b.any:
		b.any = true
		_, b.err = b.w.Write(make([]byte, 4))
	}
	return b.err
}

// Reset begins another stream.
func (b *blockWriter) Reset(w io.Writer) {
	b.w, b.plain, b.any, b.err = w, b.plain[:0], false, nil
}
