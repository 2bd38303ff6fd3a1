package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// See docs/format/journal.md. All numbers are little-endian.
const (
	magic         = "DVJRNL1\n"
	headerBytes   = len8 + 8 + 4 // magic, first sequence, crc32c of both
	recordHeader  = 4 + 4 + 8 + 8
	len8          = int64(len(magic))
	maxRecord     = 256 << 20
	logPrefix     = "journal-"
	snapPrefix    = "snapshot-"
	fileSuffix    = ".dvj"
	temporaryName = "snapshot.tmp"
	lockName      = "LOCK"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShort = errors.New("the record is cut short")
	errSum   = errors.New("its checksum does not match")
)

// appendRecord adds a framed record to b.
func appendRecord(b []byte, epoch, seq uint64, r *divisipb.JournalRecord) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, recordHeader)...)
	var err error
	if r != nil {
		if b, err = (proto.MarshalOptions{}).MarshalAppend(b, r); err != nil {
			return nil, err
		}
	}
	n := len(b) - at - recordHeader
	if n > maxRecord {
		return nil, fmt.Errorf("journal: a record of %d bytes, at most %d are allowed", n, maxRecord)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(n))
	binary.LittleEndian.PutUint64(b[at+8:], epoch)
	binary.LittleEndian.PutUint64(b[at+16:], seq)
	binary.LittleEndian.PutUint32(b[at+4:], sum(b[at:]))
	return b, nil
}

// sum covers the length and all behind the sum itself.
func sum(rec []byte) uint32 {
	return crc32.Update(crc32.Checksum(rec[:4], castagnoli), castagnoli, rec[8:])
}

// parseRecord reads the record at the beginning of b; the payload is a part of b.
func parseRecord(b []byte) (epoch, seq uint64, payload []byte, n int, err error) {
	if len(b) < recordHeader {
		return 0, 0, nil, 0, errShort
	}
	size := binary.LittleEndian.Uint32(b)
	if size > maxRecord || int(size) > len(b)-recordHeader {
		return 0, 0, nil, 0, errShort
	}
	n = recordHeader + int(size)
	if sum(b[:n]) != binary.LittleEndian.Uint32(b[4:]) {
		return 0, 0, nil, 0, errSum
	}
	return binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:]), b[recordHeader:n], n, nil
}

func header(first uint64) []byte {
	b := make([]byte, 0, headerBytes)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, first)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseHeader(b []byte) (first uint64, err error) {
	if int64(len(b)) < headerBytes {
		return 0, errShort
	}
	b = b[:headerBytes]
	if string(b[:len8]) != magic {
		return 0, errors.New("it does not begin like a journal of this version")
	}
	if crc32.Checksum(b[:len8+8], castagnoli) != binary.LittleEndian.Uint32(b[len8+8:]) {
		return 0, errSum
	}
	return binary.LittleEndian.Uint64(b[len8:]), nil
}
