// Package block turns batches into framed, checked bytes and back. It is the one
// place that knows how the system's own data looks outside memory: spill files,
// shuffle files and what travels between workers are all sequences of its frames.
//
// A frame is a header of fixed size and a body. The header has a checksum of its
// own and is believed only when that is right; the body's checksum is compared
// before it is decompressed and before Arrow sees a byte of it; what comes out is
// checked against the schema's layout before an array is made. So bytes that were
// damaged, or made to harm, end in an error of kind Corrupt. The schema is not in
// the frame: both ends know it, and a fingerprint tells them when they do not.
//
// The byte layout is on the page docs/format/block.md.
package block

import (
	"encoding/binary"
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/bare"
	"github.com/divisi-data/divisi/internal/crc32c"
)

const (
	// HeaderSize is the size of every frame's header in bytes.
	HeaderSize = 32
	// MaxBody is the most bytes a body may have, stored or decoded.
	MaxBody = 256 << 20
	// MaxRows is the most rows, or elements of one nested array, in a frame.
	MaxRows = 1<<31 - 1

	magic   = 0xD1
	version = 1
)

// A Codec says how a body is compressed. The numbers are in files and kept for ever.
type Codec uint8

const (
	None Codec = 0 // as it is, decoded in place
	LZ4  Codec = 1 // cheap; a body that does not shrink is stored as it is
	Zstd Codec = 2 // smaller and slower; the same holds
)

var codecNames = [...]string{"none", "lz4", "zstd"}

// String is the codec's name as options spell it.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec-%d", uint8(c))
}

// ParseCodec is the codec of a name that String prints.
func ParseCodec(name string) (Codec, error) {
	for i, n := range codecNames {
		if n == name {
			return Codec(i), nil
		}
	}
	return None, &dataflow.Error{Op: "block.ParseCodec", Kind: dataflow.User,
		Err: fmt.Errorf("no codec is called %q", name), Try: "use none, lz4 or zstd"}
}

func checksum(b []byte) uint32 {
	if bare.Hashes() {
		return 0
	}
	return crc32c.Checksum(b)
}

// A Header is what stands before a body.
type Header struct {
	Codec   Codec
	Stored  int    // bytes of the body as stored, without the header
	Decoded int    // bytes of the body after decompression
	Rows    int    //
	Schema  uint64 // Fingerprint of the schema
	CRC     uint32 // CRC32C of the stored body
}

// Size is the frame's size in bytes, header and body.
func (h Header) Size() int { return HeaderSize + h.Stored }

// put writes the header to the first HeaderSize bytes of b.
func (h Header) put(b []byte) {
	b[0], b[1], b[2], b[3] = magic, version, byte(h.Codec), 0
	le := binary.LittleEndian
	le.PutUint32(b[4:], uint32(h.Stored))
	le.PutUint32(b[8:], uint32(h.Decoded))
	le.PutUint32(b[12:], uint32(h.Rows))
	le.PutUint64(b[16:], h.Schema)
	le.PutUint32(b[24:], h.CRC)
	le.PutUint32(b[28:], checksum(b[:28]))
}

// ParseHeader reads the header at the start of b and checks all that can be known
// without the body. Its errors are of kind Corrupt.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, corrupt("%d bytes where a frame's header of %d should be", len(b), HeaderSize)
	}
	le := binary.LittleEndian
	if b[0] != magic {
		return Header{}, corrupt("no frame begins here: first byte %#02x, want %#02x", b[0], magic)
	}
	if b[1] != version {
		return Header{}, corrupt("frame of version %d, this program reads %d", b[1], version)
	}
	if got, want := checksum(b[:28]), le.Uint32(b[28:]); got != want {
		return Header{}, corrupt("frame header: %w: computed %08x, stored %08x", dataflow.ErrChecksum, got, want)
	}
	h := Header{
		Codec: Codec(b[2]), Stored: int(le.Uint32(b[4:])), Decoded: int(le.Uint32(b[8:])),
		Rows: int(le.Uint32(b[12:])), Schema: le.Uint64(b[16:]), CRC: le.Uint32(b[24:]),
	}
	switch {
	case h.Codec > Zstd || b[3] != 0:
		return Header{}, corrupt("frame with unknown codec %d", b[2])
	case h.Stored > MaxBody || h.Decoded > MaxBody:
		return Header{}, corrupt("frame body of %d bytes, %d decoded; the limit is %d", h.Stored, h.Decoded, MaxBody)
	case h.Rows > MaxRows:
		return Header{}, corrupt("frame of %d rows; the limit is %d", h.Rows, MaxRows)
	case h.Codec == None && h.Stored != h.Decoded:
		return Header{}, corrupt("uncompressed frame body of %d bytes claims to be %d", h.Stored, h.Decoded)
	}
	return h, nil
}

// Check compares the checksum of a stored body with the header's.
func (h Header) Check(body []byte) error {
	if len(body) != h.Stored {
		return corrupt("frame body is cut short: %d of %d bytes", len(body), h.Stored)
	}
	if got := checksum(body); got != h.CRC {
		return corrupt("frame body: %w: computed %08x, stored %08x", dataflow.ErrChecksum, got, h.CRC)
	}
	return nil
}

func corrupt(format string, args ...any) error {
	return &dataflow.Error{Op: "block", Kind: dataflow.Corrupt, Err: fmt.Errorf(format, args...)}
}

// pad8 rounds up to a multiple of eight, the alignment of a body's buffers.
func pad8(n int) int { return (n + 7) &^ 7 }
