package dataflow

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"
)

type (
	nameT string
	inner struct {
		A int32
		B string `df:"b"`
	}
	everything struct {
		Bool     bool
		I8       int8
		I16      int16
		I32      int32
		I64      int64
		Int      int
		U8       uint8
		U16      uint16
		U32      uint32
		U64      uint64
		Uint     uint
		F32      float32
		F64      float64
		S        string
		Name     nameT
		Bytes    []byte
		ID       [5]byte
		In       inner
		PtrInt   *int64
		PtrIn    *inner
		PtrList  *[]string
		List     []string
		Nested   [][]inner
		PtrElems []*int16
		Map      map[string]int64
		MapAny   map[int32]inner
		MapList  map[string][]bool
		T        time.Time
		D        Decimal `df:"d,decimal(20,3)"`
		skipped  int     `df:"-"`
	}
)

func roundTrip[T any](t rapid.TB, vs []T) {
	c, err := codecOf[T]()
	if err != nil {
		t.Fatal(err)
	}
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	env := NewEnv(context.Background())
	env.Alloc = mem
	w := c.writer(env)
	half := len(vs) / 2
	got := make([]T, 0, len(vs))
	for _, part := range [][]T{vs[:half], vs[half:]} { // a writer is used again
		for _, v := range part {
			w.append(v)
		}
		b := w.batch()
		if err := c.accepts(b.Schema()); err != nil {
			t.Fatal(err)
		}
		// Two slices: offsets other than zero.
		for _, s := range []Batch{b.NewSlice(0, b.NumRows()/3), b.NewSlice(b.NumRows()/3, b.NumRows())} {
			get := c.reader(s)
			for i := range int(s.NumRows()) {
				v := new(T)
				get(i, unsafe.Pointer(v))
				got = append(got, *v)
			}
			s.Release()
		}
		b.Release()
	}
	w.append(*new(T))
	w.drop()
	mem.AssertSize(t.(interface {
		Errorf(string, ...any)
		Helper()
	}), 0)
	if len(vs) != len(got) {
		t.Fatalf("%d values became %d", len(vs), len(got))
	}
	for i := range vs {
		if !reflect.DeepEqual(vs[i], got[i]) {
			t.Fatalf("%d: %#v became %#v", i, vs[i], got[i])
		}
	}
}

func listOf[T any](t *rapid.T, name string, elem func() T) []T {
	n := rapid.IntRange(0, 4).Draw(t, name)
	var out []T
	for range n {
		out = append(out, elem())
	}
	return out
}

func drawEverything(t *rapid.T) everything {
	str := func() string { return string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "s")) }
	in := func() inner { return inner{rapid.Int32().Draw(t, "a"), str()} }
	e := everything{
		Bool: rapid.Bool().Draw(t, "bool"), I8: rapid.Int8().Draw(t, "i8"), I16: rapid.Int16().Draw(t, "i16"),
		I32: rapid.Int32().Draw(t, "i32"), I64: rapid.Int64().Draw(t, "i64"), Int: rapid.Int().Draw(t, "int"),
		U8: rapid.Uint8().Draw(t, "u8"), U16: rapid.Uint16().Draw(t, "u16"), U32: rapid.Uint32().Draw(t, "u32"),
		U64: rapid.Uint64().Draw(t, "u64"), Uint: rapid.Uint().Draw(t, "uint"),
		F32: rapid.Float32().Draw(t, "f32"), F64: rapid.Float64().Draw(t, "f64"),
		S: str(), Name: nameT(str()), In: in(),
		ID:      [5]byte(rapid.SliceOfN(rapid.Byte(), 5, 5).Draw(t, "id")),
		List:    listOf(t, "list", str),
		Nested:  listOf(t, "nested", func() []inner { return listOf(t, "inners", in) }),
		D:       Decimal{NewDecimal(rapid.Int64().Draw(t, "d"), 3).num, 3},
		skipped: 0,
	}
	e.PtrElems = listOf(t, "ptrs", func() *int16 {
		if rapid.Bool().Draw(t, "nil") {
			return nil
		}
		return new(rapid.Int16().Draw(t, "i16"))
	})
	if b := []byte(str()); len(b) > 0 {
		e.Bytes = b
	}
	if rapid.Bool().Draw(t, "p1") {
		e.PtrInt = new(rapid.Int64().Draw(t, "pi"))
		e.PtrList = new(listOf(t, "plist", str))
	}
	if rapid.Bool().Draw(t, "p2") {
		e.PtrIn = new(in())
		e.T = time.Unix(0, rapid.Int64().Draw(t, "t")).UTC()
	}
	for range rapid.IntRange(0, 3).Draw(t, "maps") {
		if e.Map == nil {
			e.Map, e.MapAny, e.MapList = map[string]int64{}, map[int32]inner{}, map[string][]bool{}
		}
		e.Map[str()] = rapid.Int64().Draw(t, "v")
		e.MapAny[rapid.Int32().Draw(t, "k")] = in()
		e.MapList[str()] = listOf(t, "bools", func() bool { return rapid.Bool().Draw(t, "b") })
	}
	return e
}

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var vs []everything
		var pairs []Pair[nameT, *inner]
		var ints []*int64
		for range rapid.IntRange(0, 9).Draw(t, "n") {
			e := drawEverything(t)
			vs = append(vs, e)
			pairs = append(pairs, KV(e.Name, e.PtrIn))
			ints = append(ints, e.PtrInt)
		}
		roundTrip(t, vs)
		roundTrip(t, pairs)
		roundTrip(t, ints)
	})
	roundTrip(t, []string{"", "\xff", strings.Repeat("long", 1000)})
	roundTrip(t, []float64{math.Inf(1), math.Copysign(0, -1)})
	roundTrip(t, []bool{true, false, true, true, false, false, true, true, true})
	roundTrip(t, []time.Time{{}, time.Unix(1, 2).UTC()})
	roundTrip(t, [][]string{nil, {"a", ""}})
	roundTrip(t, []map[string]string{nil, {"a": "b"}})
}

func FuzzCodec(f *testing.F) {
	f.Add([]byte("abc"), "key", int64(3), true)
	f.Fuzz(func(t *testing.T, b []byte, s string, n int64, nul bool) {
		e := everything{S: s, I64: n, Nested: [][]inner{{{int32(n), s}}, nil}, List: []string{s, s}, Map: map[string]int64{s: n}}
		if len(b) > 0 {
			e.Bytes = b
		}
		if nul {
			e.PtrIn = &inner{B: s}
		}
		e.D.scale = 3
		roundTrip(t, []everything{e, {D: e.D}, e})
	})
}

func TestCodecRejects(t *testing.T) {
	type loop struct{ Next []loop }
	type hidden struct{ a int } //lint:ignore U1000 that it is hidden is the point
	type twice struct {
		A int `df:"x"`
		B int `df:"x"`
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{second(codecOf[chan int]()), "chan int cannot be a column"},
		{second(codecOf[struct{ F func() }]()), ".F: func() cannot be a column"},
		{second(codecOf[[]any]()), "interface {} cannot be a column"},
		{second(codecOf[loop]()), "contains itself"},
		{second(codecOf[hidden]()), ".a: the field is not exported"},
		{second(codecOf[twice]()), `two fields are called "x"`},
		{second(codecOf[struct{}]()), "has no exported fields"},
		{second(codecOf[**int]()), "points to what can be null already"},
		{second(codecOf[map[*int]int]()), "cannot be the key of a map"},
		{second(codecOf[struct {
			D Decimal `df:"d,decimal(50,2)"`
		}]()), "not possible"},
		{second(codecOf[struct {
			D int `df:"d,decimal(5,2)"`
		}]()), "means nothing for int"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got %v, want %s", c.err, c.want)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func TestEncodeRejects(t *testing.T) {
	for _, f := range []func(){
		func() { roundTrip(t, []time.Time{time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}) },
		func() { roundTrip(t, []Decimal{NewDecimal(1, 10)}) },
		func() {
			roundTrip(t, []struct {
				D Decimal `df:",decimal(3,0)"`
			}{{NewDecimal(1000, 0)}})
		},
	} {
		func() {
			defer func() {
				if e, ok := recover().(*Error); !ok || e.Kind != User || !strings.Contains(fmt.Sprint(e), "fit") {
					t.Errorf("got %v", e)
				}
			}()
			f()
		}()
	}
}
