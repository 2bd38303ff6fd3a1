package codec

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
	dbzip2 "github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/zstd"
)

var all = []Codec{Plain, Gzip, Zstd, Deflate, Bzip2, Lz4, Snappy, Lz4Frame, SnappyFrame}

// text is lines that compress, some of them very well.
func text(n int) []byte {
	rnd := rand.New(rand.NewPCG(7, uint64(n)))
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, "%d the quick brown %x\n", rnd.IntN(100), rnd.Uint32())
		if rnd.IntN(200) == 0 {
			b = append(b, strings.Repeat("z", rnd.IntN(2000))...)
		}
	}
	return b[:n]
}

func compressed(t testing.TB, c Codec, data []byte) []byte {
	t.Helper()
	if c == Bzip2 && len(data) < 100_000 { // the quickest
		return bzip2Of(t, 1, data)
	}
	var out bytes.Buffer
	w, err := NewWriter(c, &out)
	if err != nil {
		t.Fatal(err)
	}
	for p := data; len(p) > 0; { // in uneven steps
		n := min(len(p), 1+len(p)/3)
		if k, err := w.Write(p[:n]); k != n || err != nil {
			t.Fatal(k, err)
		}
		p = p[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func plain(c Codec, data []byte) ([]byte, error) {
	r, err := NewReader(c, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestRoundTrip(t *testing.T) {
	for _, c := range all {
		for _, n := range []int{0, 1, 100, blockWritten - 1, blockWritten, 2*blockWritten + 1}[race.Tries(0, 0, 3):] {
			want := text(n)
			stored := compressed(t, c, want)
			got, err := plain(c, stored)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes: %d come back, %v", c, n, len(got), err)
			}
			// Files that are put one behind the other are one.
			if got, err = plain(c, slices.Concat(stored, stored)); err != nil || !bytes.Equal(got, slices.Concat(want, want)) {
				t.Errorf("%s, twice %d bytes: %d come back, %v", c, n, len(got), err)
			}
		}
	}
}

func TestDamage(t *testing.T) {
	for _, c := range all[1:] {
		data := text(30000)
		stored := compressed(t, c, data)
		for n := 1; n < len(stored); n += 1 + len(stored)/25 {
			got, err := plain(c, stored[:n])
			if err == nil && !bytes.HasPrefix(data, got) {
				t.Errorf("%s cut to %d of %d bytes reads wrong bytes", c, n, len(stored))
			}
			if err == nil && !strings.HasSuffix(string(c), "-frame") { // whose frames may end anywhere a block does
				t.Errorf("%s cut to %d of %d bytes reads without an error", c, n, len(stored))
			}
		}
		noticed, rnd := 0, rand.New(rand.NewPCG(1, 1))
		for range 30 {
			bad := slices.Clone(stored)
			bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
			if _, err := plain(c, bad); err != nil {
				noticed++
			}
		}
		if noticed == 0 {
			t.Errorf("%s: no flipped bit is noticed", c)
		}
	}
	flipped := compressed(t, Gzip, text(1000))
	flipped[len(flipped)-6] ^= 1 // of the checksum
	if _, err := plain(Gzip, flipped); !errors.Is(err, ErrChecksum) {
		t.Errorf("a wrong checksum: %v", err)
	}
}

// What a header claims is not allocated before it is there.
func TestClaims(t *testing.T) {
	for _, c := range []Codec{Lz4, Snappy} {
		for _, head := range []string{"\xff\xff\xff\xff", "\x00\x00\x00\x08\xff\xff\xff\xff", "\x03\xff\xff\xff\x03\xff\xff\xff", "\x00\x00\x00\x04\x00\x00\x00\x00"} {
			if got, err := plain(c, []byte(head)); err == nil {
				t.Errorf("%s of %x: %d bytes and no error", c, head, len(got))
			}
		}
	}
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 1, 0, 0} // a window of exabytes
	if _, err := plain(Zstd, window); err == nil {
		t.Error("zstd takes any window")
	}
	if _, err := NewReader("nonsense", nil); err == nil {
		t.Error("a codec of any name is known")
	}
}

// bzip2Of writes small blocks; streams of them one behind the other.
func bzip2Of(t testing.TB, level int, parts ...[]byte) []byte {
	var out bytes.Buffer
	for _, p := range parts {
		w, err := dbzip2.NewWriter(&out, &dbzip2.WriterConfig{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func framesOf(t testing.TB, data []byte) []byte {
	var out bytes.Buffer
	w, err := NewFrameWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(data); n != len(data) || err != nil {
		t.Fatal(n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRanges(t *testing.T) {
	long := text(450_000)
	frames := bytes.Repeat(text(1000), 2*FrameBytes/1000+1)
	for _, c := range []struct {
		name   string
		codec  Codec
		stored []byte
		want   []byte
		parts  int // at least so many ranges have something
	}{
		{"bzip2", Bzip2, bzip2Of(t, 1, long), long, 4},
		{"bzip2 streams", Bzip2, slices.Concat(bzip2Of(t, 1, long[:150_000], nil, long[150_000:150_001]), bzip2Of(t, 3, long[150_001:])), long, 2},
		{"bzip2 of nothing", Bzip2, bzip2Of(t, 1, nil), nil, 0},
		{"bzip2 of little", Bzip2, bzip2Of(t, 9, long[:10]), long[:10], 1},
		{"zstd", Zstd, framesOf(t, frames), frames, 3},
		{"zstd of nothing", Zstd, framesOf(t, nil), nil, 0},
		{"zstd without a table", Zstd, compressed(t, Zstd, long), long, 1},
		{"gzip", Gzip, compressed(t, Gzip, long), long, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.codec == Bzip2 { // the oracle is another decoder
				got, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(c.stored)))
				if err != nil || !bytes.Equal(got, c.want) {
					t.Fatal("the writer is wrong:", err)
				}
			}
			size := int64(len(c.stored))
			rnd := rand.New(rand.NewPCG(1, 2))
			most := 0
			for round := range 4 {
				cuts := []int64{0, size}
				for range round * 4 {
					cuts = append(cuts, rnd.Int64N(size+1))
				}
				slices.Sort(cuts)
				at, parts := 0, 0
				for i := range len(cuts) - 1 {
					own := readRange(t, c.codec, c.stored, cuts[i], cuts[i+1], c.want[at:])
					at += own
					if own > 0 {
						parts++
					}
				}
				if at != len(c.want) {
					t.Fatalf("cut at %v: %d bytes of %d", cuts, at, len(c.want))
				}
				most = max(most, parts)
			}
			if most < c.parts {
				t.Errorf("at most %d ranges had something, want %d", most, c.parts)
			}
		})
	}
}

// readRange compares what a range gives with what is left of the whole, and says how
// much of it is the range's own.
func readRange(t *testing.T, c Codec, stored []byte, off, end int64, want []byte) int {
	t.Helper()
	r, err := OpenRange(c, bytes.NewReader(stored), int64(len(stored)), off, end)
	if err != nil {
		t.Fatalf("range %d to %d: %v", off, end, err)
	}
	defer r.Close()
	var got []byte
	buf := make([]byte, 100_000)
	for {
		n, err := r.Read(buf)
		got = append(got, buf[:n]...)
		own := r.Own()
		if own < math.MaxInt64 && int64(len(got)) > own || err == io.EOF {
			if !bytes.HasPrefix(want, got) && own > 0 {
				t.Fatalf("range %d to %d gives other bytes than the whole", off, end)
			}
			return int(min(own, int64(len(got))))
		}
		if own < int64(len(got)) {
			t.Fatalf("range %d to %d says late that its own are %d, it gave %d", off, end, own, len(got))
		}
		if err != nil {
			t.Fatalf("range %d to %d: %v", off, end, err)
		}
	}
}

func TestDamagedRanges(t *testing.T) {
	for _, c := range []struct {
		codec  Codec
		stored []byte
		want   []byte
	}{{Bzip2, bzip2Of(t, 1, text(250_000)), text(250_000)}, {Zstd, framesOf(t, text(100_000)), text(100_000)}} {
		noticed, tries, rnd := 0, race.Tries(40, 40, 8), rand.New(rand.NewPCG(3, 4))
		for range tries {
			bad := slices.Clone(c.stored)
			bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
			cut := rnd.Int64N(int64(len(bad)))
			var got []byte
			var failed error
			for _, r := range [][2]int64{{0, cut}, {cut, int64(len(bad))}} {
				z, err := OpenRange(c.codec, bytes.NewReader(bad), int64(len(bad)), r[0], r[1])
				if err == nil {
					var b []byte
					if b, err = io.ReadAll(z); z.Own() < int64(len(b)) {
						b = b[:z.Own()]
					}
					got = append(got, b...)
				}
				failed = errors.Join(failed, err)
			}
			if failed != nil {
				noticed++
			} else if !bytes.Equal(got, c.want) && !bytes.HasPrefix(c.want, got) {
				t.Fatalf("%s: wrong bytes and no error", c.codec)
			}
		}
		if noticed < tries/2 {
			t.Errorf("%s: of %d damaged files %d are noticed", c.codec, tries, noticed)
		}
	}
	cut := bzip2Of(t, 1, text(250_000))
	cut = cut[:len(cut)/2]
	for _, r := range [][2]int64{{0, 10}, {10, int64(len(cut))}} {
		z, err := OpenRange(Bzip2, bytes.NewReader(cut), int64(len(cut)), r[0], r[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(z); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a file that is cut short: %v", err)
		}
	}
}

// Bits inside a block that look like a block's begin are passed over.
func TestMarkInsideOfABlock(t *testing.T) {
	want := text(300_000)
	stored := bzip2Of(t, 1, want)
	z, err := openBzip2(bytes.NewReader(stored), int64(len(stored)), 0, int64(len(stored)))
	if err != nil {
		t.Fatal(err)
	}
	// A block's end is sought for from its begin: give it one that is too early.
	b := z.(*bzip2Range)
	first := b.at
	if err := b.fill(int64(len(stored))); err != nil {
		t.Fatal(err)
	}
	early := bzip2.NewReader(bytes.NewReader(b.alone(first, first+5000)))
	if n, err := early.Read(make([]byte, 10)); n > 0 || err == nil {
		t.Fatalf("a piece of a block reads as %d bytes, %v", n, err)
	}
	got, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Other readers see ordinary zstd.
func TestFramesAreZstd(t *testing.T) {
	want := text(FrameBytes + 10)
	d, err := zstd.NewReader(bytes.NewReader(framesOf(t, want)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]Codec{"a": Plain, "a.gz": Gzip, "a.csv.ZST": Zstd, "x.deflate": Deflate, "x.bz2": Bzip2, "x.lz4": Lz4,
		"x.snappy": Snappy, "x.sz": Snappy, "gz": Plain, ".gz/x": Plain} {
		if got := Of(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, c := range all {
		if got := Of("part-00000" + Suffix(c)); got != c && strings.TrimSuffix(string(c), "-frame") != string(got) {
			t.Errorf("a file of %s is read as %q", c, got)
		}
	}
}
