package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Seekable zstd is frames, and behind them a table of their sizes in a frame that
// decoders skip: magic, length; per frame its stored and its decompressed size (and a
// checksum, which is not looked at: frames have their own); the number of frames, a
// byte of flags, the table's magic. All numbers have 4 bytes, little-endian.
const (
	skipMagic  = 0x184D2A5E
	seekMagic  = 0x8F92EAB1
	seekFooter = 9
	framesMax  = 1 << 24
	// FrameBytes of plain data are a frame of a file that is written here.
	FrameBytes = 4 << 20
)

// NewFrameWriter compresses to w in frames of FrameBytes with a seek table, so that
// the file can be read in ranges. Other decoders see ordinary frames.
func NewFrameWriter(w io.Writer) (io.WriteCloser, error) {
	f := &frameWriter{}
	f.out.w = w
	z, err := zstd.NewWriter(&f.out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithZeroFrames(true))
	f.z = z
	return f, err
}

type frameWriter struct {
	out    counted
	z      *zstd.Encoder
	plain  int // in the frame
	begun  int64
	table  []byte
	frames uint32
	closed bool
}

type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (f *frameWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if f.plain == FrameBytes {
			if err := f.end(); err != nil {
				return done, err
			}
		}
		n, err := f.z.Write(p[done:min(len(p), done+FrameBytes-f.plain)])
		done += n
		f.plain += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// end closes a frame and begins another.
func (f *frameWriter) end() error {
	if err := f.z.Close(); err != nil {
		return err
	}
	f.table = binary.LittleEndian.AppendUint32(f.table, uint32(f.out.n-f.begun))
	f.table = binary.LittleEndian.AppendUint32(f.table, uint32(f.plain))
	f.frames++
	f.begun, f.plain = f.out.n, 0
	f.z.Reset(&f.out)
	return nil
}

func (f *frameWriter) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	if f.plain > 0 || f.frames == 0 {
		if err := f.end(); err != nil {
			return err
		}
	}
	b := binary.LittleEndian.AppendUint32(nil, skipMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.table)+seekFooter))
	b = append(b, f.table...)
	b = binary.LittleEndian.AppendUint32(b, f.frames)
	b = append(b, 0)
	b = binary.LittleEndian.AppendUint32(b, seekMagic)
	_, err := f.out.w.Write(b)
	return err
}

// frame is where a frame lies.
type frame struct{ at, stored, plain int64 }

var errSeekTable = errors.New("its table of frames does not fit the file")

// readTable is a file's frames; none where it has no table.
func readTable(r io.ReaderAt, size int64) ([]frame, error) {
	if ok, err := Cuts(Zstd, r, size); err != nil || !ok {
		return nil, err
	}
	var tail [seekFooter]byte
	if _, err := r.ReadAt(tail[:], size-seekFooter); err != nil && err != io.EOF {
		return nil, err
	}
	n, entry := int64(binary.LittleEndian.Uint32(tail[:])), int64(8)
	if tail[4]&0x80 != 0 {
		entry = 12
	}
	begin := size - seekFooter - n*entry - 8
	if tail[4]&0x7c != 0 || n > framesMax || begin < 0 {
		return nil, errSeekTable
	}
	table := make([]byte, 8+n*entry)
	if _, err := r.ReadAt(table, begin); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(table) != skipMagic || int64(binary.LittleEndian.Uint32(table[4:])) != n*entry+seekFooter {
		return nil, errSeekTable
	}
	frames := make([]frame, 0, n)
	at := int64(0)
	for e := table[8:]; len(e) > 0; e = e[entry:] {
		f := frame{at, int64(binary.LittleEndian.Uint32(e)), int64(binary.LittleEndian.Uint32(e[4:]))}
		frames = append(frames, f)
		at += f.stored
	}
	if at != begin {
		return nil, errSeekTable
	}
	return frames, nil
}

func openZstd(r io.ReaderAt, size, off, end int64) (Range, error) {
	frames, err := readTable(r, size)
	if err != nil {
		return nil, err
	}
	if frames == nil {
		return openWhole(Zstd, r, size, off)
	}
	z := &zstdRange{r: r}
	first := int64(0)
	for _, f := range frames {
		if first = f.at; f.plain > 0 {
			break
		}
	}
	if off == 0 {
		end = max(end, first+1)
	} else {
		off = max(off, first+1)
	}
	for _, f := range frames {
		if f.at < off {
			continue
		}
		z.frames = append(z.frames, f)
		if f.at < end {
			z.own += f.plain
		}
	}
	return z, nil
}

// zstdRange reads frame after frame and compares each with the table, by which the
// other ranges know what is theirs.
type zstdRange struct {
	r      io.ReaderAt
	frames []frame // still to come
	own    int64
	cur    io.ReadCloser
	left   int64 // of cur
}

func (z *zstdRange) Own() int64 { return z.own }

func (z *zstdRange) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if z.cur == nil {
			if len(z.frames) == 0 {
				return 0, io.EOF
			}
			f := z.frames[0]
			z.frames = z.frames[1:]
			var err error
			if z.cur, err = NewReader(Zstd, io.NewSectionReader(z.r, f.at, f.stored)); err != nil {
				return 0, noEOF(err)
			}
			z.left = f.plain
		}
		n, err := z.cur.Read(p)
		z.left -= int64(n)
		if z.left < 0 || err == io.EOF && z.left != 0 {
			return 0, fmt.Errorf("%w: a frame has another length", errSeekTable)
		}
		if err == io.EOF {
			z.cur.Close()
			z.cur, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

func (z *zstdRange) Close() error {
	if z.cur != nil {
		z.cur.Close()
		z.cur = nil
	}
	z.frames = nil
	return nil
}
