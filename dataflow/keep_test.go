package dataflow

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// Owning changes nothing that can be seen, and leaves no string where it was.
func TestKeeperOwns(t *testing.T) {
	k := keeperOf(reflect.TypeFor[everything]())
	rapid.Check(t, func(t *rapid.T) {
		e := drawEverything(t)
		c := e
		k.own(nil, unsafe.Pointer(&c))
		if !reflect.DeepEqual(c, e) {
			t.Fatalf("%+v became %+v", e, c)
		}
		if len(e.S) > 0 && unsafe.StringData(c.S) == unsafe.StringData(e.S) {
			t.Fatal("the string was not copied")
		}
		if len(e.List) > 0 && len(e.List[0]) > 0 && unsafe.StringData(c.List[0]) == unsafe.StringData(e.List[0]) {
			t.Fatal("a string in a slice was not copied")
		}
		if e.PtrIn != nil && (c.PtrIn == e.PtrIn) {
			t.Fatal("what a pointer points to was not copied")
		}
		d := c
		k.own(unsafe.Pointer(&c), unsafe.Pointer(&d))
		if len(c.S) > 0 && unsafe.StringData(c.S) != unsafe.StringData(d.S) || c.PtrIn != d.PtrIn {
			t.Fatal("what was owned is copied again")
		}
		if k.heap(unsafe.Pointer(&c)) < int64(len(c.S)+len(c.Name)+len(c.In.B)) {
			t.Fatal("strings weigh nothing")
		}
	})
	if keeperOf(reflect.TypeFor[place]()) == nil || keeperOf(reflect.TypeFor[struct{ A, B int }]()) != nil {
		t.Error("a keeper where none is needed, or none where one is")
	}
}

// Values that grow are counted: a few keys with much in them spill.
func TestGrowingValuesSpill(t *testing.T) {
	var rows []Pair[string, int64]
	for i := range 30_000 {
		rows = append(rows, KV(fmt.Sprint("k", i%200), int64(i)))
	}
	g := build(t, func(j *Job) {
		d := MapValues(Read(j, FromSlice(rows).Splits(3)), func(v int64) []string { return []string{strings.Repeat("v", 20) + fmt.Sprint(v)} })
		Write(MapValues(Combine(d, func(a, b []string) []string { return append(a, b...) }), func(v []string) string {
			slices.Sort(v)
			return fmt.Sprint(len(v), len(slices.Compact(v)), v[0])
		}), CSV[Pair[string, string]]("o"))
	})
	run := func(limit int64) (map[string]string, int) {
		in := &interpreter{t: t, batchRows: 500, parts: 2, fuse: true, limit: limit}
		out := map[string]string{}
		for _, p := range flat(collect[Pair[string, string]](in, g, 0)) {
			out[p.Key] = p.Value
		}
		return out, in.spilled
	}
	free, none := run(0)
	tight, some := run(512 << 10)
	if !maps.Equal(free, tight) || len(free) != 200 {
		t.Error("less memory, other results")
	}
	if none != 0 || some == 0 {
		t.Errorf("%d and %d runs", none, some)
	}
}
