package codec

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// A bzip2 file is blocks that begin at any bit, each with its own checksum behind 48
// bits that say "block". So a range finds the first such mark in it and goes on from
// there. That bits of data look like a mark is one chance in 2^48 a bit: inside a
// block that is being read it is noticed and passed over; as the first mark of a range
// it ends in an error, never in wrong bytes.
const (
	markBlock = 0x314159265359
	markEnd   = 0x177245385090
	markBits  = 48
	// blockStoredMax is more than a block of 900,000 symbols of at most 20 bits has.
	blockStoredMax = 4 << 20
)

// marks tells by the second and third byte at a position, which a mark that begins in
// the first one covers whatever bit it begins at, at which bits one may begin.
var marks = func() *[1 << 16]uint8 {
	var t [1 << 16]uint8
	for _, m := range []uint64{markBlock, markEnd} {
		for shift := range 8 {
			t[uint16(m>>(24+shift))] |= 1 << shift
		}
	}
	return &t
}()

type bzip2Range struct {
	r    io.ReaderAt
	size int64
	end  int64 // blocks that begin at this byte or later are not ours

	buf  []byte // of the file, from base on
	base int64

	at   int64     // bit at which the next block begins; -1: there is none
	cur  io.Reader // the block that is read
	gave int64
	own  int64
	// level is that of the last header that was seen, and says how large blocks are. A
	// range that begins in a later stream may meet larger ones.
	level byte
}

func openBzip2(r io.ReaderAt, size, off, end int64) (Range, error) {
	z := &bzip2Range{r: r, size: size, own: math.MaxInt64, at: -1}
	first, err := z.first()
	if err != nil {
		return nil, err
	}
	if off == 0 {
		off, end = first, max(end, first+1)
	} else if off = max(off, first+1); off >= end {
		return nothing{io.NopCloser(bytes.NewReader(nil))}, nil
	}
	z.base, z.end = off, end
	from := off * 8
	for {
		bit, mark, err := z.find(from, end*8)
		switch {
		case err != nil:
			return nil, err
		case bit < 0 || bit >= end*8:
			z.own = 0
			return z, nil
		case mark == markBlock:
			z.at = bit
			return z, nil
		}
		from = bit + markBits
	}
}

func (z *bzip2Range) Own() int64   { return z.own }
func (z *bzip2Range) Close() error { z.buf, z.cur, z.at = nil, nil, -1; return nil }

func (z *bzip2Range) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if z.cur == nil {
			if z.own == math.MaxInt64 && (z.at < 0 || z.at >= z.end*8) {
				z.own = z.gave
			}
			if z.at < 0 || z.own == 0 {
				return 0, io.EOF
			}
			n, err := z.block(p)
			z.gave += int64(n)
			return n, err
		}
		n, err := z.cur.Read(p)
		z.gave += int64(n)
		if err == io.EOF {
			z.cur, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, named(err)
		}
	}
	return 0, nil
}

// block begins the block at z.at and reads its first bytes. A decoder needs all of a
// block before it gives any, so a mark inside of it is found out here.
func (z *bzip2Range) block(p []byte) (int, error) {
	stop, mark, err := z.find(z.at+markBits, z.at+blockStoredMax*8)
	if err != nil {
		return 0, err
	}
	for {
		if stop < 0 {
			return 0, io.ErrUnexpectedEOF
		}
		r := bzip2.NewReader(bytes.NewReader(z.alone(z.at, stop)))
		n, err := r.Read(p)
		if n > 0 && (err == nil || err == io.EOF) {
			z.cur = r
			return n, z.follow(stop, mark)
		}
		if z.level < '9' {
			z.level = '9'
			continue
		}
		more, next, ferr := z.find(stop+markBits, z.at+blockStoredMax*8)
		if ferr != nil {
			return 0, ferr
		}
		if more < 0 {
			if err == nil || err == io.EOF {
				err = errors.New("a block without bytes")
			}
			return 0, named(noEOF(err))
		}
		stop, mark = more, next
	}
}

// follow says what comes behind a block: another, or the stream's end and perhaps one
// more stream.
func (z *bzip2Range) follow(stop int64, mark uint64) error {
	z.at = stop
	for mark == markEnd {
		at := (stop + markBits + 32 + 7) / 8
		if at >= z.size {
			z.at = -1
			if at > z.size {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		if err := z.header(at); err != nil {
			return err
		}
		bit, m, err := z.find(at*8+32, at*8+32+1)
		if err != nil {
			return err
		}
		if bit != at*8+32 {
			return errors.New("no block behind a stream's header")
		}
		z.at, stop, mark = bit, bit, m
	}
	z.drop(z.at / 8)
	return nil
}

// first is where the first block begins: behind a header, and behind streams without
// blocks; or where the file ends.
func (z *bzip2Range) first() (int64, error) {
	for at := int64(0); at < z.size; at += 14 {
		if err := z.header(at); err != nil {
			return 0, err
		}
		var mark [6]byte
		if _, err := z.r.ReadAt(mark[:], at+4); err != nil {
			return 0, noEOF(err)
		}
		if binary.BigEndian.Uint16(mark[:]) != markEnd>>32 {
			return at + 4, nil
		}
	}
	return z.size, nil
}

func (z *bzip2Range) header(at int64) error {
	var head [4]byte
	if _, err := z.r.ReadAt(head[:], at); err != nil {
		return noEOF(err)
	}
	if string(head[:3]) != "BZh" || head[3] < '1' || head[3] > '9' {
		return errors.New("not a bzip2 stream")
	}
	z.level = head[3]
	return nil
}

// find is the first mark that begins at bit from or later, and before limit; -1 if
// there is none.
func (z *bzip2Range) find(from, limit int64) (bit int64, mark uint64, err error) {
	limit = min(limit, z.size*8)
	for at := from / 8; at*8 < limit; {
		if err := z.fill(at + 8); err != nil {
			return 0, 0, err
		}
		have := z.buf[at-z.base:]
		n := len(have) - 7
		if z.base+int64(len(z.buf)) == z.size { // the last marks may end with the file
			n = len(have) - 5
		}
		for i := 0; i < n && (at+int64(i))*8 < limit; i++ {
			may := marks[uint16(have[i+1])<<8|uint16(have[i+2])]
			if may == 0 {
				continue
			}
			var w [8]byte
			copy(w[:], have[i:])
			bits := binary.BigEndian.Uint64(w[:])
			for shift := range int64(8) {
				m := bits >> (16 - shift) & (1<<markBits - 1)
				b := (at+int64(i))*8 + shift
				if may>>shift&1 == 1 && (m == markBlock || m == markEnd) && b >= from && b < limit && b+markBits <= z.size*8 {
					return b, m, nil
				}
			}
		}
		at += int64(max(0, n))
		if z.base+int64(len(z.buf)) == z.size {
			break
		}
		if z.at < 0 {
			z.drop(at) // nothing is being collected
		}
	}
	return -1, 0, nil
}

// fill makes the bytes before upto available, and some more.
func (z *bzip2Range) fill(upto int64) error {
	upto = min(upto, z.size)
	have := z.base + int64(len(z.buf))
	if have >= upto {
		return nil
	}
	n := min(max(upto-have, 64<<10), z.size-have)
	at := len(z.buf)
	z.buf = append(z.buf, make([]byte, n)...)
	if _, err := z.r.ReadAt(z.buf[at:], have); err != nil && (err != io.EOF || have+n < z.size) {
		return err
	}
	return nil
}

// drop forgets what lies before a byte.
func (z *bzip2Range) drop(before int64) {
	if n := before - z.base; n > 0 {
		n = min(n, int64(len(z.buf)))
		z.buf = append(z.buf[:0], z.buf[n:]...)
		z.base += n
	}
}

// alone is a stream of just the block between two bits.
func (z *bzip2Range) alone(from, to int64) []byte {
	out := append(make([]byte, 0, (to-from)/8+24), "BZh"...)
	out = append(out, z.level)
	src, shift := z.buf[from/8-z.base:], uint(from%8)
	n := to - from
	for i := int64(0); i*8 < n; i++ {
		b := src[i] << shift
		if shift > 0 && int(i)+1 < len(src) {
			b |= src[i+1] >> (8 - shift)
		}
		out = append(out, b)
	}
	crc := binary.BigEndian.Uint32(out[4+markBits/8:])
	// The end: its mark and the checksum of all blocks, which is that of the one.
	tail := binary.BigEndian.AppendUint64(nil, markEnd<<16|uint64(crc>>16))
	tail = binary.BigEndian.AppendUint16(tail, uint16(crc))
	free := uint((8 - n%8) % 8) // bits of the last byte
	if free == 0 {
		return append(out, tail...)
	}
	last := &out[len(out)-1]
	*last &= 0xff << free
	for _, b := range tail {
		out[len(out)-1] |= b >> (8 - free)
		out = append(out, b<<free)
	}
	return out
}
