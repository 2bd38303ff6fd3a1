package avro

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/hamba/avro/v2/ocf"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/dataflow"
)

func bigRat(n, d int64) *big.Rat { return big.NewRat(n, d) }

func base64Of(b byte) string { return base64.StdEncoding.EncodeToString([]byte{b}) }

func varint(n int) []byte { return binary.AppendVarint(nil, int64(n)) }

// Another reader reads what is written here.
func TestOthersRead(t *testing.T) {
	rows := words(t, 50)
	for _, c := range []string{"none", "deflate", "snappy", "zstd"} {
		data := filestest.Encode(t, "avro", `{"block_bytes":100,"compression":"`+c+`"}`, rows)
		dec, err := ocf.NewDecoder(bytes.NewReader(data))
		if err != nil {
			t.Fatal(c, err)
		}
		var got, want []string
		for dec.HasNext() {
			var row struct {
				Word string   `avro:"word"`
				N    int64    `avro:"n"`
				X    *float64 `avro:"x"`
			}
			if err := dec.Decode(&row); err != nil {
				t.Fatal(c, err)
			}
			x := "null"
			if row.X != nil {
				x = fmt.Sprintf("%q", fmt.Sprint(*row.X))
			}
			got = append(got, fmt.Sprintf(`%q | "%d" | %s`, row.Word, row.N, x))
		}
		if want = filestest.Strings(rows); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: rows are %v, want %v", c, got, want)
		}
	}
}

func words(t testing.TB, n int) arrow.RecordBatch {
	s := arrow.NewSchema([]arrow.Field{{Name: "word", Type: arrow.BinaryTypes.String}, {Name: "n", Type: arrow.PrimitiveTypes.Int64},
		{Name: "x", Type: arrow.PrimitiveTypes.Float64, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	for i := range n {
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("word %d", i*7))
		b.Field(1).(*array.Int64Builder).Append(int64(i) - 3)
		if i%3 == 0 {
			b.Field(2).AppendNull()
		} else {
			b.Field(2).(*array.Float64Builder).Append(float64(i) / 4)
		}
	}
	return b.NewRecordBatch()
}

// BenchmarkRead compares with the library's own reader into a struct, its fastest.
func BenchmarkRead(b *testing.B) {
	data := filestest.Encode(b, "avro", `{"compression":"none"}`, words(b, 100_000))
	b.Run("columns", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		r := filestest.Reader(b, "avro", files.ReadOptions{})
		schema := filestest.SchemaOf(b, r, data)
		for b.Loop() {
			env := dataflow.NewEnv(b.Context())
			s, err := r.Open(env, filestest.InputOf(data, 0, int64(len(data))), schema)
			if err != nil {
				b.Fatal(err)
			}
			for {
				batch, err := s.Next(b.Context())
				if err == io.EOF {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				batch.Release()
			}
			s.Close()
		}
	})
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			dec, err := ocf.NewDecoder(bytes.NewReader(data))
			if err != nil {
				b.Fatal(err)
			}
			for dec.HasNext() {
				var row struct {
					Word string   `avro:"word"`
					N    int64    `avro:"n"`
					X    *float64 `avro:"x"`
				}
				if err := dec.Decode(&row); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
