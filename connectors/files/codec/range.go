package codec

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
)

// A Range is the decompressed bytes of those parts of a file (bzip2 blocks, zstd
// frames) that begin in a range of its stored bytes, and then of all that follow, for
// the record that the range's last part leaves unfinished. The first part that is not
// empty belongs to the range that begins the file, wherever that ends.
type Range interface {
	io.ReadCloser
	// Own is how many of the bytes are of the range's own parts, once that is known:
	// at the latest when a byte behind them has been read. Until then MaxInt64.
	Own() int64
}

// OpenRange reads the parts of r, a whole file, that begin in the stored bytes from
// off to end. Ranges that together cover a file give each of its bytes once. What
// cannot be cut belongs to the range that begins the file.
func OpenRange(c Codec, r io.ReaderAt, size, off, end int64) (Range, error) {
	if end <= off {
		return nothing{io.NopCloser(bytes.NewReader(nil))}, nil
	}
	if Cuttable(c) && (off > 0 || end < size) {
		switch c {
		case Bzip2:
			return openBzip2(r, size, off, end)
		case Zstd:
			return openZstd(r, size, off, end)
		}
	}
	return openWhole(c, r, size, off)
}

// openWhole gives a file that is not cut to the range that begins it.
func openWhole(c Codec, r io.ReaderAt, size, off int64) (Range, error) {
	if off > 0 || size == 0 { // an empty file is one without members
		return nothing{io.NopCloser(bytes.NewReader(nil))}, nil
	}
	z, err := NewReader(c, io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	return whole{z}, nil
}

// Cuttable reports whether files of a codec may have parts that are read alone.
func Cuttable(c Codec) bool { return c == Bzip2 || c == Zstd }

// Cuts reports whether this file has: zstd must have been written with a seek table.
func Cuts(c Codec, r io.ReaderAt, size int64) (bool, error) {
	switch c {
	case Bzip2:
		return true, nil
	case Zstd:
		var tail [seekFooter]byte
		if size < seekFooter {
			return false, nil
		}
		if _, err := r.ReadAt(tail[:], size-seekFooter); err != nil && err != io.EOF {
			return false, err
		}
		return binary.LittleEndian.Uint32(tail[5:]) == seekMagic, nil
	}
	return false, nil
}

type whole struct{ io.ReadCloser }

func (whole) Own() int64 { return math.MaxInt64 }

type nothing struct{ io.ReadCloser }

func (nothing) Own() int64 { return 0 }
