package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sales is rows with few keys, many keys, one key and none.
func sales(n, keys int) []Pair[string, int64] {
	r := rand.New(rand.NewPCG(uint64(n), uint64(keys)))
	var out []Pair[string, int64]
	for range n {
		k := r.IntN(keys)
		if r.IntN(3) == 0 {
			k = 0 // skewed
		}
		out = append(out, KV(fmt.Sprintf("key-%d-%s", k, strings.Repeat("z", k%19)), r.Int64N(1000)-500))
	}
	return out
}

func salesCases() [][]Pair[string, int64] {
	return [][]Pair[string, int64]{nil, {KV("a", int64(1))}, sales(300, 7), sales(900, 900)}
}

// byText orders rows of any type, so that outputs without an order can be compared.
func byText[T any](rows []T) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, show(reflect.ValueOf(r)))
	}
	slices.Sort(out)
	return out
}

func show(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "nil"
		}
		return "&" + show(v.Elem())
	case reflect.Struct:
		s := "{"
		for i := range v.NumField() {
			s += show(v.Field(i)) + " "
		}
		return s + "}"
	}
	return fmt.Sprintf("%q", fmt.Sprint(v.Interface()))
}

func wantRows[T any](t *testing.T, got, want []T) {
	t.Helper()
	g, w := byText(got), byText(want)
	if !slices.Equal(g, w) {
		t.Errorf("got %d rows, want %d\ngot  %.300v\nwant %.300v", len(g), len(w), g, w)
	}
}

// each runs a graph in all settings and compares what it writes first.
func each[T any](t *testing.T, f func(*Job) Dataset[T], want []T) {
	t.Helper()
	g := build(t, func(j *Job) { Write(f(j), CSV[T]("out")) })
	settings(t, func(t *testing.T, in *interpreter) {
		t.Helper()
		wantRows(t, flat(collect[T](in, g, 0)), want)
	})
}

func grouped[K comparable, V any](rows []Pair[K, V]) map[K][]V {
	m := map[K][]V{}
	for _, r := range rows {
		m[r.Key] = append(m[r.Key], r.Value)
	}
	return m
}

func pairsOf[K comparable, V any](m map[K]V) []Pair[K, V] {
	var out []Pair[K, V]
	for k, v := range m {
		out = append(out, KV(k, v))
	}
	return out
}

func mapValues[K comparable, A, B any](m map[K]A, f func(A) B) map[K]B {
	out := map[K]B{}
	for k, v := range m {
		out[k] = f(v)
	}
	return out
}

func TestCombine(t *testing.T) {
	sum := func(vs []int64) (s int64) {
		for _, v := range vs {
			s += v
		}
		return s
	}
	for _, rows := range salesCases() {
		groups := grouped(rows)
		read := func(j *Job) Dataset[Pair[string, int64]] { return Read(j, FromSlice(rows).Splits(4)) }
		each(t, func(j *Job) Dataset[Pair[string, int64]] { return Sum(read(j)) }, pairsOf(mapValues(groups, sum)))
		each(t, func(j *Job) Dataset[Pair[string, int64]] { return Max(read(j), Partitions(3)) }, pairsOf(mapValues(groups, slices.Max[[]int64])))
		each(t, func(j *Job) Dataset[Pair[string, int64]] {
			return Min(MapValues(Sum(read(j)), func(v int64) int64 { return -v }))
		},
			pairsOf(mapValues(groups, func(vs []int64) int64 { return -sum(vs) })))
		each(t, func(j *Job) Dataset[Pair[string, int64]] { return CountByKey(read(j)) }, pairsOf(mapValues(groups, func(vs []int64) int64 { return int64(len(vs)) })))
		each(t, func(j *Job) Dataset[Pair[string, string]] {
			all := MapValues(read(j), func(v int64) string { return fmt.Sprint(v) })
			return Combine(all, func(a, b string) string { return max(a, b) })
		}, pairsOf(mapValues(groups, func(vs []int64) string {
			return fmt.Sprint(slices.MaxFunc(vs, func(a, b int64) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }))
		})))
		each(t, func(j *Job) Dataset[Pair[string, float64]] {
			return Aggregate(read(j), Aggregator[int64, []int64, float64]{
				Zero:   func() []int64 { return nil },
				Add:    func(a []int64, v int64) []int64 { return append(a, v) },
				Merge:  func(a, b []int64) []int64 { return append(a, b...) },
				Finish: func(a []int64) float64 { return float64(sum(a)) / float64(len(a)) },
			})
		}, pairsOf(mapValues(groups, func(vs []int64) float64 { return float64(sum(vs)) / float64(len(vs)) })))
	}
}

type place struct {
	Country string
	Zip     int32
}

func TestCountOfAllKindsOfKeys(t *testing.T) {
	var ints []int64
	var places []place
	var floats []float64
	r := rand.New(rand.NewPCG(4, 4))
	for range 5000 {
		ints = append(ints, r.Int64N(2000)-3)
		places = append(places, place{fmt.Sprint("c", r.IntN(40)), int32(r.IntN(40))})
		floats = append(floats, float64(r.IntN(50))/4)
	}
	countAll(t, ints)
	countAll(t, places)
	countAll(t, floats)
	countAll(t, []bool{true, false, true})
	countAll(t, [][3]byte{{1}, {1}, {2}})
}

func countAll[T comparable](t *testing.T, rows []T) {
	want := map[T]int64{}
	for _, v := range rows {
		want[v]++
	}
	each(t, func(j *Job) Dataset[Pair[T, int64]] { return Count(Read(j, FromSlice(rows).Splits(2))) }, pairsOf(want))
	each(t, func(j *Job) Dataset[T] { return Distinct(Read(j, FromSlice(rows).Splits(2))) }, slices.Collect(maps.Keys(want)))
}

// NaN is one key for all that gathers by key, as it is for sorts and joins, although Go's
// == knows none that it is equal to.
func TestNaNIsOneKey(t *testing.T) {
	type spot struct {
		Name string
		X    float32
	}
	var floats []float64
	var spots []spot
	for i := range 3000 {
		floats = append(floats, []float64{1, math.NaN(), math.Float64frombits(0xfff8000000000123)}[i%3])
		spots = append(spots, spot{"a", float32(floats[i])})
	}
	each(t, func(j *Job) Dataset[string] {
		return Map(Count(Read(j, FromSlice(floats).Splits(2))), func(p Pair[float64, int64]) string { return fmt.Sprint(p) })
	}, []string{"{1 1000}", "{NaN 2000}"})
	each(t, func(j *Job) Dataset[string] {
		return Map(Distinct(Read(j, FromSlice(spots).Splits(2))), func(s spot) string { return fmt.Sprint(s) })
	}, []string{"{a 1}", "{a NaN}"})
}

func TestGroups(t *testing.T) {
	type first2 struct {
		Key  string
		N    int
		A, B int64
	}
	for _, rows := range salesCases() {
		var want []first2
		var sorted []Pair[string, string]
		for k, vs := range grouped(rows) {
			slices.Sort(vs)
			f := first2{Key: k, N: min(2, len(vs)), A: vs[0]}
			if len(vs) > 1 {
				f.B = vs[1]
			}
			want = append(want, f)
			sorted = append(sorted, KV(k, fmt.Sprint(vs)))
		}
		each(t, func(j *Job) Dataset[first2] { // leaves values unread
			g := GroupByKeySorted(Read(j, FromSlice(rows).Splits(3)), func(v int64) int64 { return v })
			return MapGroups(g, func(k string, vs iter.Seq[int64], emit Emit[first2]) {
				f := first2{Key: k}
				for v := range vs {
					if f.N++; f.N == 1 {
						f.A = v
						continue
					}
					f.B = v
					break
				}
				emit(f)
			})
		}, want)
		each(t, func(j *Job) Dataset[Pair[string, string]] {
			g := GroupByKey(Read(j, FromSlice(rows).Splits(3)), Partitions(4))
			return ReduceGroups(g, func(_ string, vs iter.Seq[int64]) string {
				all := slices.Collect(vs)
				for range vs {
					t.Error("values came a second time")
				}
				slices.Sort(all)
				return fmt.Sprint(all)
			})
		}, sorted)
	}
}

func TestCoGroup(t *testing.T) {
	cases := salesCases()
	for _, a := range cases {
		for _, b := range cases {
			ga, gb := grouped(a), grouped(b)
			keys := map[string]bool{}
			for k := range ga {
				keys[k] = true
			}
			for k := range gb {
				keys[k] = true
			}
			var want []string
			for k := range keys {
				slices.Sort(ga[k])
				slices.Sort(gb[k])
				want = append(want, fmt.Sprint(k, ga[k], gb[k]))
			}
			each(t, func(j *Job) Dataset[string] {
				g := CoGroup(Read(j, FromSlice(a)), Sum(Read(j, FromSlice(b).Splits(2))))
				if len(b) > 0 { // otherwise right groups would be sums
					g = CoGroup(Read(j, FromSlice(a)), Read(j, FromSlice(b).Splits(2)))
				}
				out := MapCoGroups(g, func(k string, as, bs iter.Seq[int64], emit Emit[string]) {
					right := slices.Sorted(bs) // before the left
					emit(fmt.Sprint(k, slices.Sorted(as), right))
				})
				return Filter(out, func(string) bool { return true })
			}, want)
		}
	}
}

func TestJoins(t *testing.T) {
	cases := [][2][]Pair[string, int64]{{nil, nil}, {sales(50, 9), nil}, {nil, sales(50, 9)}, {sales(60, 30), sales(50, 40)}}
	for _, c := range cases {
		l, r := c[0], c[1]
		gl, gr := grouped(l), grouped(r)
		var inner []Pair[string, Joined[int64, int64]]
		var left []Pair[string, Joined[int64, *int64]]
		var right []Pair[string, Joined[*int64, int64]]
		var full []Pair[string, Joined[*int64, *int64]]
		var semi, anti []Pair[string, int64]
		for _, p := range l {
			for _, v := range gr[p.Key] {
				inner = append(inner, KV(p.Key, Joined[int64, int64]{p.Value, v}))
				left = append(left, KV(p.Key, Joined[int64, *int64]{p.Value, new(v)}))
				right = append(right, KV(p.Key, Joined[*int64, int64]{new(p.Value), v}))
				full = append(full, KV(p.Key, Joined[*int64, *int64]{new(p.Value), new(v)}))
			}
			if gr[p.Key] == nil {
				left = append(left, KV(p.Key, Joined[int64, *int64]{p.Value, nil}))
				full = append(full, KV(p.Key, Joined[*int64, *int64]{new(p.Value), nil}))
				anti = append(anti, p)
			} else {
				semi = append(semi, p)
			}
		}
		for _, p := range r {
			if gl[p.Key] == nil {
				right = append(right, KV(p.Key, Joined[*int64, int64]{nil, p.Value}))
				full = append(full, KV(p.Key, Joined[*int64, *int64]{nil, new(p.Value)}))
			}
		}
		ds := func(j *Job) (a, b Dataset[Pair[string, int64]]) {
			return Read(j, FromSlice(l).Splits(2)), Read(j, FromSlice(r).Splits(3))
		}
		for _, opts := range [][]JoinOption{nil, {Partitions(3)}, {BroadcastRight()}} {
			each(t, func(j *Job) Dataset[Pair[string, Joined[int64, int64]]] {
				a, b := ds(j)
				return Join(a, b, opts...)
			}, inner)
			each(t, func(j *Job) Dataset[Pair[string, Joined[int64, *int64]]] {
				a, b := ds(j)
				return LeftJoin(a, b, opts...)
			}, left)
			each(t, func(j *Job) Dataset[Pair[string, int64]] {
				a, b := ds(j)
				return SemiJoin(a, b, opts...)
			}, semi)
			each(t, func(j *Job) Dataset[Pair[string, int64]] {
				a, b := ds(j)
				return AntiJoin(a, b, opts...)
			}, anti)
		}
		each(t, func(j *Job) Dataset[Pair[string, Joined[*int64, int64]]] {
			a, b := ds(j)
			return RightJoin(a, b)
		}, right)
		each(t, func(j *Job) Dataset[Pair[string, Joined[*int64, *int64]]] {
			a, b := ds(j)
			return FullJoin(a, b)
		}, full)
	}
}

func TestSorts(t *testing.T) {
	for _, rows := range salesCases() {
		value := func(p Pair[string, int64]) int64 { return p.Value }
		g := build(t, func(j *Job) {
			d := Read(j, FromSlice(rows).Splits(3))
			Write(Sort(d, value), CSV[Pair[string, int64]]("a"))
			Write(Sort(d, value, Descending(), Partitions(3)), CSV[Pair[string, int64]]("b"))
			Write(SortBy(d, Desc("key"), Asc("value")), CSV[Pair[string, int64]]("c"))
			Write(SortByKey(d), CSV[Pair[string, int64]]("d"))
			Write(TopN(d, 10, value), CSV[Pair[string, int64]]("e"))
			Write(BottomN(d, 10, value), CSV[Pair[string, int64]]("f"))
		})
		up := func(a, b Pair[string, int64]) int { return cmp.Compare(a.Value, b.Value) }
		down := func(a, b Pair[string, int64]) int { return up(b, a) }
		both := func(a, b Pair[string, int64]) int {
			return cmp.Or(strings.Compare(b.Key, a.Key), cmp.Compare(a.Value, b.Value))
		}
		settings(t, func(t *testing.T, in *interpreter) {
			for n, order := range []func(a, b Pair[string, int64]) int{up, down, both, func(a, b Pair[string, int64]) int { return strings.Compare(a.Key, b.Key) }} {
				got := flat(collect[Pair[string, int64]](in, g, n))
				wantRows(t, got, rows)
				if !slices.IsSortedFunc(got, order) {
					t.Errorf("output %d is not in order", n)
				}
			}
			for n, order := range []func(a, b Pair[string, int64]) int{down, up} {
				got := collect[Pair[string, int64]](in, g, 4+n)
				if len(got) != 1 {
					t.Errorf("%d tasks", len(got))
				}
				want := slices.Clone(rows)
				slices.SortFunc(want, order)
				want = want[:min(10, len(want))]
				if !slices.EqualFunc(flat(got), want, func(a, b Pair[string, int64]) bool { return a.Value == b.Value }) {
					t.Errorf("got %v, want %v", got, want)
				}
			}
		})
	}
}

// TestPlaceAndOrder: a row goes where it says, and is sorted there; a custom operator
// sees the rows in that order.
func TestPlaceAndOrder(t *testing.T) {
	type row struct {
		Part int32
		Name string
		N    int64
	}
	for _, pairs := range salesCases() {
		var rows []row
		for i, p := range pairs {
			rows = append(rows, row{int32(i * i % 11), p.Key, p.Value})
		}
		g := build(t, func(j *Job) {
			placed := PartitionBy(Read(j, FromSlice(rows).Splits(3)), "Part", Partitions(4))
			sorted := SortWithin(placed, Desc("Name"), Asc("N"))
			Write(CustomOperator[row, row](sorted, "sort", sortArgs{[]SortKey{{Column: 1}}}), CSV[row]("out"))
		})
		settings(t, func(t *testing.T, in *interpreter) {
			parts := collect[row](in, g, 0)
			wantRows(t, flat(parts), rows)
			if len(parts) != 4 {
				t.Fatalf("%d parts", len(parts))
			}
			for i, part := range parts {
				for _, r := range part {
					if int(r.Part)%4 != i {
						t.Errorf("%v is in part %d", r, i)
					}
				}
				if !slices.IsSortedFunc(part, func(a, b row) int {
					return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.N, b.N)) // the custom sort is stable
				}) {
					t.Errorf("part %d is not in order", i)
				}
			}
		})
	}
}

func TestUnionCachedRepartition(t *testing.T) {
	rows := sales(200, 50)
	each(t, func(j *Job) Dataset[Pair[string, int64]] {
		d := Cached(Read(j, FromSlice(rows).Splits(3)))
		return Union(Repartition(d, 5), PartitionByKey(d), Filter(d, func(p Pair[string, int64]) bool { return p.Value > 0 }))
	}, slices.Concat(rows, rows, slices.DeleteFunc(slices.Clone(rows), func(p Pair[string, int64]) bool { return p.Value <= 0 })))
	each(t, func(j *Job) Dataset[string] {
		return Keys(Swap(Swap(Read(j, FromSlice(rows)))))
	}, func() (ks []string) {
		for _, p := range rows {
			ks = append(ks, p.Key)
		}
		return ks
	}())
}

func TestSamples(t *testing.T) {
	rows := make([]int, 10_000)
	for i := range rows {
		rows[i] = i
	}
	g := build(t, func(j *Job) {
		d := Read(j, FromSlice(rows).Splits(2))
		Write(Sample(d, 0.1, 1), CSV[int]("a"))
		Write(SampleN(d, 50, 1), CSV[int]("b"))
		Write(Sample(d, 0, 1), CSV[int]("c"))
		Write(Sample(d, 1, 1), CSV[int]("d"))
	})
	var before [2][]string
	settings(t, func(t *testing.T, in *interpreter) {
		got := flat(collect[int](in, g, 0))
		if len(got) < 800 || len(got) > 1200 {
			t.Errorf("a tenth of 10,000 is %d", len(got))
		}
		n := flat(collect[int](in, g, 1))
		if len(n) != 50 || len(slices.Compact(slices.Sorted(slices.Values(n)))) != 50 {
			t.Errorf("50 rows are %d", len(n))
		}
		for i, rows := range [][]int{got, n} {
			if before[i] != nil && !slices.Equal(before[i], byText(rows)) {
				t.Error("another run gave another sample")
			}
			before[i] = byText(rows)
		}
		if len(flat(collect[int](in, g, 2))) != 0 || len(flat(collect[int](in, g, 3))) != len(rows) {
			t.Error("none and all are not none and all")
		}
	})
}

func TestSidesCountersFiles(t *testing.T) {
	rows := sales(200, 20)
	g := build(t, func(j *Job) {
		d := Read(j, FromSlice(rows).Splits(4))
		sums := SideMap(Sum(d))
		all := SideInput(Values(d))
		out := FlatMapTask(d, func(t *Task) func(Pair[string, int64], Emit[string]) {
			sum, n := sums.Get(t), len(all.Get(t))
			seen := t.Counter("seen")
			name, err := t.File("f")
			if err != nil {
				t.Fail(err)
			}
			return func(p Pair[string, int64], emit Emit[string]) {
				seen.Inc()
				emit(fmt.Sprint(p.Key, sum[p.Key], n, name))
			}
		}, sums, all)
		Write(out, Text("out"))
	})
	sum := map[string]int64{}
	for _, p := range rows {
		sum[p.Key] += p.Value
	}
	var want []string
	for _, p := range rows {
		want = append(want, fmt.Sprint(p.Key, sum[p.Key], len(rows), "/tmp/f"))
	}
	settings(t, func(t *testing.T, in *interpreter) {
		in.files = func(name string) (string, error) { return "/tmp/" + name, nil }
		wantRows(t, flat(collect[string](in, g, 0)), want)
		if n := in.counters.Get("seen").Value(); n != int64(len(rows)) {
			t.Errorf("counted %d", n)
		}
	})
	g = build(t, func(j *Job) {
		d := Read(j, FromSlice(rows))
		s := SideInput(d)
		Write(MapTask(d, func(t *Task) func(Pair[string, int64]) int {
			all := s.Get(t)
			return func(Pair[string, int64]) int { return len(all) }
		}), CSV[int]("out"))
	})
	_, err := tryCollect[int](&interpreter{t: t, batchRows: 3, parts: 1}, g, 0)
	if err == nil || !strings.Contains(err.Error(), "is not named in the call") {
		t.Error(err)
	}
}

func TestMapBatch(t *testing.T) {
	rows := sales(100, 5)
	each(t, func(j *Job) Dataset[int64] {
		d := Read(j, FromSlice(rows).Splits(2))
		return MapBatch[Pair[string, int64], int64](d, func(_ context.Context, b Batch) (Batch, error) {
			c := codecOrNil[int64]()
			col := b.Column(1)
			col.Retain()
			defer col.Release()
			return arrayBatch(c, col), nil
		})
	}, func() (vs []int64) {
		for _, p := range rows {
			vs = append(vs, p.Value)
		}
		return vs
	}())
	boom := errors.New("boom")
	for _, f := range []func(context.Context, Batch) (Batch, error){
		func(context.Context, Batch) (Batch, error) { return nil, boom },
		func(context.Context, Batch) (Batch, error) { panic(boom) },
		func(_ context.Context, b Batch) (Batch, error) { b.Retain(); return b, nil },
	} {
		g := build(t, func(j *Job) {
			Write(MapBatch[Pair[string, int64], int64](Read(j, FromSlice(rows)), f), CSV[int64]("out"))
		})
		_, err := tryCollect[int64](&interpreter{t: t, batchRows: 3, parts: 1}, g, 0)
		if KindOf(err) != User || !strings.Contains(err.Error(), "sdk_test.go") {
			t.Error(err)
		}
	}
}
