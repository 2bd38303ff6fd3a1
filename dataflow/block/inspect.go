package block

import (
	"bufio"
	"fmt"
	"io"
)

// Inspect prints one line for each frame of r and a sum, for people. It needs no
// schema: it checks headers and checksums and does not look inside the bodies. It
// stops with the error that a reader would find, and has then printed where.
func Inspect(w io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, readAhead)
	head := make([]byte, HeaderSize)
	var body []byte
	var off, rows, decoded int64
	frames := 0
	fmt.Fprintf(w, "%12s %10s %10s %10s  %-5s %-16s %s\n", "offset", "rows", "stored", "decoded", "codec", "schema", "crc32c")
	for {
		if _, err := io.ReadFull(in, head); err == io.EOF {
			break
		} else if err != nil {
			return inspectStop(w, off, corrupt("frame header: %w", err))
		}
		h, err := ParseHeader(head)
		if err != nil {
			return inspectStop(w, off, err)
		}
		if cap(body) < h.Stored {
			body = make([]byte, h.Stored)
		}
		n, err := io.ReadFull(in, body[:h.Stored])
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil // Check says that it is short
		}
		if err == nil {
			err = h.Check(body[:n])
		}
		if err != nil {
			return inspectStop(w, off, err)
		}
		fmt.Fprintf(w, "%12d %10d %10d %10d  %-5s %016x %08x ok\n", off, h.Rows, h.Stored, h.Decoded, h.Codec, h.Schema, h.CRC)
		off += int64(h.Size())
		rows += int64(h.Rows)
		decoded += int64(h.Decoded)
		frames++
	}
	_, err := fmt.Fprintf(w, "%d frames, %d rows, %d bytes, %d decoded\n", frames, rows, off, decoded)
	return err
}

func inspectStop(w io.Writer, off int64, err error) error {
	fmt.Fprintf(w, "%12d %v\n", off, err)
	return err
}
