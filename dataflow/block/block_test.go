package block

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block/blocktest"
	"github.com/divisi-data/divisi/internal/race"
)

var codecs = []Codec{None, LZ4, Zstd}

func TestRoundTrip(t *testing.T) {
	schema := blocktest.AllTypes()
	for _, codec := range codecs {
		for _, n := range []int{0, 1, 2, 8, 9, 65, 300} {
			for _, nulls := range []float64{0, 0.3, 1} {
				t.Run(fmt.Sprintf("%s/rows=%d/nulls=%v", codec, n, nulls), func(t *testing.T) {
					mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
					defer mem.AssertSize(t, 0)
					rng := rand.New(rand.NewPCG(uint64(n), 7))
					b := blocktest.Random(rng, mem, schema, n, nulls)
					defer b.Release()
					checkRoundTrip(t, mem, codec, b)
				})
			}
		}
	}
}

func TestRoundTripOfSlices(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	b := blocktest.Random(rand.New(rand.NewPCG(1, 2)), mem, blocktest.AllTypes(), 100, 0.2)
	defer b.Release()
	for from := range int64(17) {
		for _, to := range []int64{from, from + 13, 100} {
			s := b.NewSlice(from, to)
			ss := s.NewSlice(min(1, s.NumRows()), s.NumRows())
			checkRoundTrip(t, mem, None, s)
			checkRoundTrip(t, mem, None, ss)
			ss.Release()
			s.Release()
		}
	}
}

func checkRoundTrip(t *testing.T, mem memory.Allocator, codec Codec, b dataflow.Batch) {
	t.Helper()
	enc, err := NewEncoder(b.Schema(), codec)
	must(t, err)
	frame, err := enc.Encode([]byte("before"), b)
	must(t, err)
	if string(frame[:6]) != "before" {
		t.Fatal("Encode changed what stood before")
	}
	dec, err := NewDecoder(b.Schema(), mem)
	must(t, err)
	defer dec.Close()
	buf := memory.NewBufferBytes(append(frame[6:], "after"...))
	got, n, err := dec.Decode(buf)
	must(t, err)
	defer got.Release()
	if n != len(frame)-6 {
		t.Fatalf("Decode took %d bytes of %d", n, len(frame)-6)
	}
	must(t, validate(got))
	if !array.RecordEqual(b, got) {
		t.Fatalf("got\n%v\nwant\n%v", got, b)
	}
}

// A slice's frame holds the slice's rows only.
func TestSliceIsSmall(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.BinaryTypes.String}, {Name: "l", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64)}}, nil)
	b := blocktest.Random(rand.New(rand.NewPCG(1, 2)), memory.DefaultAllocator, schema, 10000, 0)
	s := b.NewSlice(5000, 5002)
	enc, err := NewEncoder(schema, None)
	must(t, err)
	n, err := enc.Measure(s)
	must(t, err)
	if n > 400 {
		t.Errorf("two rows measure %d bytes", n)
	}
	frame, err := enc.Encode(nil, s)
	must(t, err)
	if len(frame) != HeaderSize+n {
		t.Errorf("frame of %d bytes, measured %d", len(frame), n)
	}
}

// Decoding copies nothing: the column's memory is the frame's.
func TestDecodeInPlace(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := blocktest.Random(rand.New(rand.NewPCG(1, 2)), memory.DefaultAllocator, schema, 100, 0)
	enc, _ := NewEncoder(schema, None)
	frame, err := enc.Encode(nil, b)
	must(t, err)
	back := &returned{}
	buf := memory.NewBufferWithAllocator(frame, back)
	dec, _ := NewDecoder(schema, memory.DefaultAllocator)
	got, _, err := dec.Decode(buf)
	must(t, err)
	buf.Release()
	col := got.Column(0).(*array.Int64)
	if &arrow.Int64Traits.CastToBytes(col.Int64Values())[0] != &frame[HeaderSize+8] {
		t.Error("the column is a copy")
	}
	if back.n != 0 {
		t.Error("the frame was given back while the batch lived")
	}
	got.Release()
	if back.n != 1 {
		t.Errorf("the frame was given back %d times", back.n)
	}
}

type returned struct {
	memory.GoAllocator
	n int
}

func (r *returned) Free([]byte) { r.n++ }

func TestUnsupportedTypesAreNamed(t *testing.T) {
	for _, dt := range []arrow.DataType{arrow.BinaryTypes.StringView, arrow.SparseUnionOf(nil, nil), arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64)} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "odd", Type: arrow.ListOf(dt)}}, nil)
		_, err := NewEncoder(schema, None)
		if dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "column odd") {
			t.Errorf("%s: %v", dt, err)
		}
	}
	a := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := blocktest.Random(rand.New(rand.NewPCG(1, 2)), memory.DefaultAllocator, a, 3, 0)
	enc, _ := NewEncoder(arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String}}, nil), None)
	if _, err := enc.Encode(nil, b); dataflow.KindOf(err) != dataflow.Fatal || !strings.Contains(err.Error(), "column a") {
		t.Errorf("another schema: %v", err)
	}
}

func TestAnotherSchemaIsRefused(t *testing.T) {
	a := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}}, nil)
	enc, _ := NewEncoder(a, None)
	frame, err := enc.Encode(nil, blocktest.Random(rand.New(rand.NewPCG(1, 2)), memory.DefaultAllocator, a, 3, 0))
	must(t, err)
	for _, s := range []*arrow.Schema{
		arrow.NewSchema([]arrow.Field{{Name: "b", Type: arrow.PrimitiveTypes.Int64}}, nil),
		arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Uint64}}, nil),
	} {
		dec, _ := NewDecoder(s, memory.DefaultAllocator)
		if _, _, err := dec.Decode(memory.NewBufferBytes(frame)); dataflow.KindOf(err) != dataflow.Corrupt {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestWriterReader(t *testing.T) {
	schema := blocktest.AllTypes()
	for _, codec := range codecs {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		defer mem.AssertSize(t, 0)
		rng := rand.New(rand.NewPCG(3, 4))
		var file bytes.Buffer
		w, err := NewWriter(&file, schema, codec)
		must(t, err)
		var want []dataflow.Batch
		for _, n := range []int{1, 0, 200, 3, 300} {
			b := blocktest.Random(rng, mem, schema, n, 0.1)
			defer b.Release()
			must(t, w.Write(b))
			if n > 0 {
				want = append(want, b)
			}
		}
		must(t, w.Flush())
		if w.Rows() != 504 || w.Bytes() != int64(file.Len()) {
			t.Errorf("rows %d, bytes %d of %d", w.Rows(), w.Bytes(), file.Len())
		}
		var dump strings.Builder
		must(t, Inspect(&dump, bytes.NewReader(file.Bytes())))
		if !strings.Contains(dump.String(), "4 frames, 504 rows") {
			t.Error(dump.String())
		}
		r, err := NewReader(&file, "file", 0, schema, mem)
		must(t, err)
		for i, b := range want {
			got, err := r.Next(t.Context())
			must(t, err)
			if !array.RecordEqual(b, got) {
				t.Errorf("%s: batch %d differs", codec, i)
			}
			got.Release()
		}
		for range 2 {
			if _, err := r.Next(t.Context()); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
		}
		must(t, r.Close())
		must(t, r.Close())
	}
}

func TestSpill(t *testing.T) {
	schema := blocktest.AllTypes()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	dir := t.TempDir()
	for _, limit := range []int64{0, 1000} {
		env := dataflow.NewEnv(t.Context())
		env.Alloc, env.Temp, env.Memory = mem, dataflow.DirTemp(dir), dataflow.NewMemory("t", limit)
		var told dataflow.SpillInfo
		env.Events = &dataflow.Events{Spilled: func(i dataflow.SpillInfo) { told = i }}
		w, err := NewSpill(LZ4).Create(env, "sort", schema)
		must(t, err)
		rng := rand.New(rand.NewPCG(5, 6))
		var want []dataflow.Batch
		for range 5 {
			b := blocktest.Random(rng, mem, schema, 300, 0.1)
			defer b.Release()
			want = append(want, b)
			must(t, w.Write(b))
		}
		run, err := w.Finish()
		must(t, err)
		w.Abort() // after the end: nothing
		if told != (dataflow.SpillInfo{Operator: "sort", Rows: 1500, Bytes: run.Bytes()}) || run.Rows() != 1500 {
			t.Errorf("told %+v", told)
		}
		if env.Memory.Used() != 0 {
			t.Errorf("%d bytes still reserved", env.Memory.Used())
		}
		one, err := run.Open()
		must(t, err)
		two, err := run.Open()
		must(t, err)
		for _, b := range want {
			for _, s := range []dataflow.Stream{one, two} {
				got, err := s.Next(t.Context())
				must(t, err)
				if !array.RecordEqual(b, got) {
					t.Error("a batch differs")
				}
				got.Release()
			}
		}
		must(t, one.Close())
		must(t, two.Close())
		must(t, run.Remove())
		must(t, run.Remove())

		w, err = NewSpill(None).Create(env, "sort", schema)
		must(t, err)
		must(t, w.Write(want[0]))
		w.Abort()
		if err := w.Write(want[0]); err == nil {
			t.Error("a write after Abort succeeds")
		}
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A run whose file was cut is not read as a shorter one, wherever the cut lies.
func TestSpillCutShort(t *testing.T) {
	schema := blocktest.AllTypes()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	env := dataflow.NewEnv(t.Context())
	env.Alloc, env.Temp = mem, dataflow.DirTemp(t.TempDir())
	w, err := NewSpill(None).Create(env, "sort", schema)
	must(t, err)
	ends := map[int64]bool{0: true} // of frames
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3 {
		b := blocktest.Random(rng, mem, schema, 10, 0.1)
		must(t, w.Write(b))
		b.Release()
		ends[w.(*spillWriter).out.Bytes()] = true
	}
	run, err := w.Finish()
	must(t, err)
	read := func() error {
		s, err := run.Open()
		must(t, err)
		defer func() {
			must(t, s.Close())
			if _, err := s.Next(t.Context()); err == nil {
				t.Error("a closed stream gives rows")
			}
		}()
		for {
			b, err := s.Next(t.Context())
			if err == io.EOF {
				if _, again := s.Next(t.Context()); again != io.EOF {
					t.Errorf("after the end: %v", again)
				}
				return nil
			}
			if err != nil {
				return err
			}
			b.Release()
		}
	}
	must(t, read())
	cuts := 0
	for size := run.Bytes() - 1; size >= 0; size-- {
		if !ends[size] && size%7 > 0 {
			continue
		}
		must(t, os.Truncate(run.(*spillRun).file.Name(), size))
		if err := read(); dataflow.KindOf(err) != dataflow.Corrupt || !strings.Contains(err.Error(), run.(*spillRun).file.Name()) {
			t.Fatalf("cut to %d of %d bytes: %v, want an error of kind corrupt that names the file", size, run.Bytes(), err)
		}
		cuts++
	}
	if cuts < len(ends)-1 {
		t.Errorf("%d cuts were tried", cuts)
	}
	must(t, run.Remove())
}

func TestSpillDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	env := dataflow.NewEnv(t.Context())
	env.Temp = fileTemp{full}
	schema := blocktest.AllTypes()
	w, err := NewSpill(None).Create(env, "sort", schema)
	must(t, err)
	must(t, w.Write(blocktest.Random(rand.New(rand.NewPCG(1, 2)), memory.DefaultAllocator, schema, 10, 0)))
	w.(*spillWriter).file, err = os.CreateTemp(t.TempDir(), "x") // what Abort may remove
	must(t, err)
	_, err = w.Finish()
	if dataflow.KindOf(err) != dataflow.DiskFull || !errors.Is(err, dataflow.ErrDiskFull) {
		t.Errorf("full disk: %v", err)
	}
	full.Close()
}

type fileTemp struct{ f *os.File }

func (f fileTemp) Create(string) (*os.File, error) { return f.f, nil }

func TestReaderNamesTheOffset(t *testing.T) {
	data, schema := goldenBytes(t)
	data[len(data)-1] ^= 1
	r, err := NewReader(bytes.NewReader(data), "run-3", 100, schema, memory.DefaultAllocator)
	must(t, err)
	defer r.Close()
	_, err = r.Next(t.Context())
	must(t, err)
	at := r.Offset()
	for err == nil {
		at = r.Offset()
		_, err = r.Next(t.Context())
	}
	if want := fmt.Sprintf("run-3@%d", at); !strings.Contains(err.Error(), want) || dataflow.KindOf(err) != dataflow.Corrupt || !errors.Is(err, dataflow.ErrChecksum) {
		t.Errorf("%v, want %s", err, want)
	}
}

func goldenBytes(t testing.TB) ([]byte, *arrow.Schema) {
	t.Helper()
	schema := blocktest.AllTypes()
	rng := rand.New(rand.NewPCG(11, 12))
	var file bytes.Buffer
	for _, codec := range codecs {
		w, err := NewWriter(&file, schema, codec)
		must(t, err)
		b := blocktest.Random(rng, memory.DefaultAllocator, schema, 4, 0.2)
		must(t, w.Write(b))
		must(t, w.Flush())
	}
	return file.Bytes(), schema
}

const golden = "testdata/frames-v1.block"

// The golden file was written once by version 1 and must read for ever.
func TestGolden(t *testing.T) {
	want, schema := goldenBytes(t)
	if os.Getenv("DIVISI_WRITE_GOLDEN") != "" {
		must(t, os.MkdirAll(filepath.Dir(golden), 0o777))
		must(t, os.WriteFile(golden, want, 0o666))
	}
	data, err := os.ReadFile(golden)
	must(t, err)
	a, b := readAll(t, data, schema), readAll(t, want, schema)
	if len(a) != len(b) || len(a) != 3 {
		t.Fatalf("%d batches, want %d", len(a), len(b))
	}
	for i := range a {
		if !array.RecordEqual(a[i], b[i]) {
			t.Errorf("batch %d differs: %v, want %v", i, a[i], b[i])
		}
	}
}

func readAll(t testing.TB, data []byte, schema *arrow.Schema) (all []dataflow.Batch) {
	r, err := NewReader(bytes.NewReader(data), golden, 0, schema, memory.DefaultAllocator)
	must(t, err)
	defer r.Close()
	for {
		b, err := r.Next(context.Background())
		if err == io.EOF {
			return all
		}
		must(t, err)
		all = append(all, b)
	}
}

// Every flipped byte is noticed, by checksum or header.
func TestFlipEveryByte(t *testing.T) {
	data, err := os.ReadFile(golden)
	must(t, err)
	schema := blocktest.AllTypes()
	for i := 0; i < len(data); i += race.Stride(7) {
		for _, bit := range []byte{1 << (i % 8), 0xff} {
			data[i] ^= bit
			r, err := NewReader(bytes.NewReader(data), golden, 0, schema, memory.DefaultAllocator)
			must(t, err)
			for err == nil {
				_, err = r.Next(t.Context())
			}
			if dataflow.KindOf(err) != dataflow.Corrupt {
				t.Fatalf("byte %d ^ %#x: %v", i, bit, err)
			}
			if err := Inspect(io.Discard, bytes.NewReader(data)); dataflow.KindOf(err) != dataflow.Corrupt {
				t.Fatalf("Inspect, byte %d ^ %#x: %v", i, bit, err)
			}
			data[i] ^= bit
		}
	}
}

func TestCutAnywhere(t *testing.T) {
	data, schema := goldenBytes(t)
	ends := map[int]bool{}
	for off := 0; off < len(data); {
		h, err := ParseHeader(data[off:])
		must(t, err)
		off += h.Size()
		ends[off] = true
	}
	for n := 1; n < len(data); n += race.Stride(7) {
		r, err := NewReader(bytes.NewReader(data[:n]), golden, 0, schema, memory.DefaultAllocator)
		must(t, err)
		for err == nil {
			_, err = r.Next(t.Context())
		}
		if ends[n] != (err == io.EOF) || !ends[n] && dataflow.KindOf(err) != dataflow.Corrupt {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

// hostile puts a right header with right checksums before any body.
func hostile(t testing.TB, schema *arrow.Schema, codec Codec, rows, decoded uint32, body []byte) []byte {
	print, err := Fingerprint(schema)
	must(t, err)
	frame := make([]byte, HeaderSize, HeaderSize+len(body))
	h := Header{Codec: codec, Stored: len(body), Decoded: int(decoded), Rows: int(rows), Schema: print, CRC: checksum(body)}
	h.put(frame)
	return append(frame, body...)
}

// decodeHostile decodes and, where that succeeds, touches every value.
func decodeHostile(t testing.TB, schema *arrow.Schema, frame []byte) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t.(*testing.T), 0)
	dec, err := NewDecoder(schema, mem)
	must(t, err)
	defer dec.Close()
	b, _, err := dec.Decode(memory.NewBufferBytes(frame))
	if err != nil {
		if dataflow.KindOf(err) != dataflow.Corrupt {
			t.Fatalf("not of kind Corrupt: %v", err)
		}
		return
	}
	defer b.Release()
	if err := validate(b); err != nil {
		t.Fatalf("decoded what Arrow calls invalid: %v", err)
	}
	if b.NumRows() < 10000 {
		for _, c := range b.Columns() {
			for i := range c.Len() {
				_ = c.ValueStr(i)
			}
		}
	}
}

// validate lets Arrow look at each column, all but whether texts are UTF-8.
func validate(b dataflow.Batch) error {
	for i, c := range b.Columns() {
		if err := array.ValidateFull(c); err != nil && !strings.Contains(err.Error(), "utf8") {
			return fmt.Errorf("column %d %s: %w", i, c.DataType(), err)
		}
	}
	return nil
}

// Bodies that were changed and given a right checksum again do no harm.
func TestHostileBodies(t *testing.T) {
	schema := blocktest.AllTypes()
	enc, err := NewEncoder(schema, None)
	must(t, err)
	frame, err := enc.Encode(nil, blocktest.Random(rand.New(rand.NewPCG(8, 9)), memory.DefaultAllocator, schema, 5, 0.2))
	must(t, err)
	body := frame[HeaderSize:]
	for i := 0; i < len(body); i += race.Stride(7) {
		for _, v := range []byte{body[i] ^ 1<<(i%8), 0, 0xff, 0x7f} {
			old := body[i]
			body[i] = v
			decodeHostile(t, schema, hostile(t, schema, None, 5, uint32(len(body)), body))
			body[i] = old
		}
	}
	for _, rows := range []uint32{0, 1, 4, 6, 1 << 20, 1<<31 - 1} {
		decodeHostile(t, schema, hostile(t, schema, None, rows, uint32(len(body)), body))
	}
	for _, n := range []int{0, 4, 8, len(body) / 2, len(body) - 8} {
		decodeHostile(t, schema, hostile(t, schema, None, 5, uint32(n), body[:n]))
	}
}

// A small body that claims to be large fails before or while it is decompressed.
func TestBomb(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	var c compressor
	for _, codec := range []Codec{LZ4, Zstd} {
		packed, ok, err := c.compress(nil, codec, make([]byte, 32<<20))
		must(t, err)
		if !ok {
			t.Fatal("zeros do not shrink")
		}
		for _, claim := range []uint32{8, 1 << 20, 32<<20 - 8, 32<<20 + 8} {
			dec, err := NewDecoder(schema, memory.DefaultAllocator)
			must(t, err)
			_, _, err = dec.Decode(memory.NewBufferBytes(hostile(t, schema, codec, 0, claim, packed)))
			if dataflow.KindOf(err) != dataflow.Corrupt {
				t.Errorf("%s claims %d: %v", codec, claim, err)
			}
			dec.Close()
		}
	}
	frame := hostile(t, schema, LZ4, 0, MaxBody+1, nil)
	if _, err := ParseHeader(frame); dataflow.KindOf(err) != dataflow.Corrupt {
		t.Errorf("over the limit: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	schema := blocktest.AllTypes()
	for _, codec := range codecs {
		enc, err := NewEncoder(schema, codec)
		must(f, err)
		frame, err := enc.Encode(nil, blocktest.Random(rand.New(rand.NewPCG(8, 9)), memory.DefaultAllocator, schema, 3, 0.2))
		must(f, err)
		h, err := ParseHeader(frame)
		must(f, err)
		f.Add(byte(h.Codec), uint32(h.Rows), uint32(h.Decoded), frame[HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, codec byte, rows, decoded uint32, body []byte) {
		if decoded > 1<<20 {
			return
		}
		if codec == 0 {
			decoded = uint32(len(body))
		}
		decodeHostile(t, schema, hostile(t, schema, Codec(codec), rows, decoded, body))
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCodec(b *testing.B) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "k", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String}, {Name: "v", Type: arrow.PrimitiveTypes.Float64}}, nil)
	batch := blocktest.Random(rand.New(rand.NewPCG(1, 2)), memory.DefaultAllocator, schema, 30000, 0)
	for _, codec := range codecs {
		enc, _ := NewEncoder(schema, codec)
		n, _ := enc.Measure(batch)
		frame, _ := enc.Encode(nil, batch)
		b.Run("encode/"+codec.String(), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				frame, _ = enc.Encode(frame[:0], batch)
			}
		})
		b.Run("decode/"+codec.String(), func(b *testing.B) {
			b.SetBytes(int64(n))
			dec, _ := NewDecoder(schema, memory.DefaultAllocator)
			for b.Loop() {
				got, _, err := dec.Decode(memory.NewBufferBytes(frame))
				if err != nil {
					b.Fatal(err)
				}
				got.Release()
			}
		})
	}
}
