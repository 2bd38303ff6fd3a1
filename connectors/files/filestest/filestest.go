// Package filestest is the suite every file format passes: what was written is
// read back, any cut of a file into ranges reads each record exactly once, and
// damaged files end in a named error, never in a panic or a leak.
package filestest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

// A Case is one table that a format writes and reads back.
type Case struct {
	Name    string
	Format  string
	Read    string // the format's options for reading, JSON or ""
	Write   string // and for writing
	Schema  *arrow.Schema
	Given   bool // the reader is told the schema
	Rows    []arrow.RecordBatch
	Inexact bool // types change on the way (a format without types, read untold)
	// Forgetful: on damaged files a library below forgets buffers, which the garbage
	// collector takes; they are not looked for then.
	Forgetful bool
}

// Run tries one table in every way.
func Run(t *testing.T, c Case) {
	t.Helper()
	t.Run(c.Name, func(t *testing.T) {
		data := Encode(t, c.Format, c.Write, c.Rows...)
		want := Strings(c.Rows...)
		f := &fixture{Case: c, data: data, want: want}
		t.Run("round trip", f.roundTrip)
		t.Run("cuts", f.cuts)
		t.Run("shrinks", f.shrinks)
		t.Run("projection", f.projection)
		t.Run("ends", f.ends)
		t.Run("damage", f.damage)
	})
}

type fixture struct {
	Case
	data []byte
	want []string
}

func (f *fixture) reader(t *testing.T, columns ...string) files.Reader {
	t.Helper()
	o := files.ReadOptions{Options: raw(f.Case.Read), Columns: columns}
	if f.Given {
		o.Schema = f.Case.Schema
	}
	return Reader(t, f.Format, o)
}

func (f *fixture) roundTrip(t *testing.T) {
	for _, rows := range []int{1, 2, 3, 1 << 16}[race.Tries(0, 0, 2):] {
		for _, bytes := range []int{1, 64, 1 << 20}[race.Tries(0, 0, 1):] {
			env, done := Env(t)
			env.BatchRows, env.BatchBytes = rows, bytes
			r := f.reader(t)
			schema := SchemaOf(t, r, f.data)
			if !f.Inexact && len(f.data) > 0 && !sameSchema(schema, f.Case.Schema) {
				t.Fatalf("schema is %s, want %s", schema, f.Case.Schema)
			}
			got, err := ReadRange(env, r, schema, f.data, 0, int64(len(f.data)))
			if err != nil {
				t.Fatalf("batches of %d rows, %d bytes: %v", rows, bytes, err)
			}
			equal(t, fmt.Sprintf("batches of %d rows, %d bytes", rows, bytes), got, f.want)
			done()
		}
	}
}

// cuts reads a file in pieces: all cuts in two, and some in many.
func (f *fixture) cuts(t *testing.T) {
	r := f.reader(t)
	aligner, ok := r.(files.Aligner)
	aligns := ok && aligner.Aligns()
	if !r.Splittable() && !aligns {
		t.Skip("files of this format are read whole")
	}
	schema := SchemaOf(t, r, f.data)
	n := int64(len(f.data))
	rnd := rand.New(rand.NewPCG(1, 2))
	try := func(batch int, at ...int64) {
		env, done := Env(t)
		defer done()
		env.BatchBytes = batch
		var got []string
		if aligns {
			at = Align(t, aligner, f.data, at)
		}
		at = append(append([]int64{0}, at...), n)
		for i := range len(at) - 1 {
			rows, err := ReadRange(env, r, schema, f.data, at[i], at[i+1])
			if err != nil {
				t.Fatalf("range %d to %d of %d: %v", at[i], at[i+1], n, err)
			}
			got = append(got, rows...)
		}
		equal(t, fmt.Sprintf("cut at %v, blocks of %d", at, batch), got, f.want)
	}
	step := int64(1) // every cut of a small file, some of a larger one
	if n > 1000 {
		step = n / int64(race.Tries(30, 30, 6))
	} else if race.Short() {
		step = max(1, n/int64(race.Tries(0, 60, 10)))
	}
	for at := int64(0); at <= n; at += step {
		try(1, at)
		try(1<<20, at)
	}
	for range race.Tries(25, 25, 4) {
		var at []int64
		for range rnd.IntN(8) + 1 {
			at = append(at, rnd.Int64N(n+1))
		}
		slices.Sort(at)
		try([]int{1, 33, 1 << 20}[rnd.IntN(3)], at...)
	}
}

// shrinks gives ends of ranges away at random moments, again and again: what all
// readers give is the whole, and what each was left with reads the same again.
func (f *fixture) shrinks(t *testing.T) {
	r := f.reader(t)
	if !r.Splittable() {
		t.Skip("files of this format are read whole")
	}
	schema := SchemaOf(t, r, f.data)
	rnd := rand.New(rand.NewPCG(3, 4))
	for n := range race.Tries(40, 12, 3) {
		env, done := Env(t)
		env.BatchRows, env.BatchBytes = []int{1, 2, 1000}[n%3], []int{1, 33, 200}[rnd.IntN(3)]
		var got []string
		todo := [][2]int64{{0, int64(len(f.data))}}
		for len(todo) > 0 {
			off, end := todo[0][0], todo[0][1]
			todo = todo[1:]
			s, err := r.Open(env, InputOf(f.data, off, end), schema)
			if err != nil {
				t.Fatal(err)
			}
			var mine []string
			for err == nil {
				if sh, ok := s.(files.Shrinker); ok && rnd.IntN(3) == 0 {
					if at, ok := sh.Shrink(rnd.Float64()); ok {
						if at <= off || at >= end {
							t.Fatalf("a range from %d to %d ends at %d from now on", off, end, at)
						}
						todo = append([][2]int64{{at, end}}, todo...)
						end = at
					}
				}
				var b dataflow.Batch
				if b, err = s.Next(env.Context); err == nil {
					mine = append(mine, Strings(b)...)
					b.Release()
				}
			}
			if err != io.EOF {
				t.Fatal(err)
			}
			if sh, ok := s.(files.Shrinker); ok {
				if at, ok := sh.Shrink(0.5); ok {
					t.Fatalf("at its end a range from %d to %d still gives away what lies from %d on", off, end, at)
				}
			}
			s.Close()
			again, err := ReadRange(env, r, schema, f.data, off, end)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, fmt.Sprintf("range %d to %d, read again", off, end), again, mine)
			got = append(got, mine...)
		}
		equal(t, "all that was kept and given away", got, f.want)
		done()
	}
}

// projection reads the columns in reverse order, and each alone.
func (f *fixture) projection(t *testing.T) {
	if len(f.data) == 0 || f.Case.Schema.NumFields() < 2 {
		t.Skip("nothing to choose from")
	}
	var sets [][]string
	var reverse []string
	for _, field := range slices.Backward(f.Case.Schema.Fields()) {
		reverse = append(reverse, field.Name)
		sets = append(sets, []string{field.Name})
	}
	for _, names := range append(sets, reverse) {
		env, done := Env(t)
		r := f.reader(t, names...)
		schema := SchemaOf(t, r, f.data)
		got, err := ReadRange(env, r, schema, f.data, 0, int64(len(f.data)))
		if err != nil {
			t.Fatalf("columns %v: %v", names, err)
		}
		var idx []int
		for _, name := range names {
			idx = append(idx, f.Case.Schema.FieldIndices(name)...)
		}
		var want []string
		for _, b := range f.Rows {
			want = append(want, stringsOf(b, idx)...)
		}
		equal(t, fmt.Sprintf("columns %v", names), got, want)
		done()
	}
	o := files.ReadOptions{Options: raw(f.Case.Read), Columns: []string{"no such column"}, Schema: f.Case.Schema}
	format, err := files.LookupFormat(f.Format)
	if err != nil {
		t.Fatal(err)
	}
	r, err := format.Reader(o)
	if err == nil {
		_, err = r.Schema(t.Context(), func() (*files.Input, error) { return InputOf(f.data, 0, int64(len(f.data))), nil })
	}
	if err == nil || !strings.Contains(err.Error(), "no such column") || dataflow.KindOf(err) != dataflow.User {
		t.Errorf("a column that does not exist: %v, want an error of kind user that names it", err)
	}
}

// ends checks how streams end: EOF again and again, Close twice and early, a
// cancelled context, places of rows.
func (f *fixture) ends(t *testing.T) {
	r := f.reader(t)
	schema := SchemaOf(t, r, f.data)
	open := func(env *dataflow.Env) dataflow.Stream {
		s, err := r.Open(env, InputOf(f.data, 0, int64(len(f.data))), schema)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	env, done := Env(t)
	defer done()
	env.BatchRows = 2
	s := open(env)
	for {
		b, err := s.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for row := range int(b.NumRows()) {
			if place := dataflow.Locate(s, row); !strings.HasPrefix(place, "test.file") {
				t.Errorf("row %d of a batch is at %q", row, place)
			}
		}
		b.Release()
	}
	for range 2 {
		if _, err := s.Next(t.Context()); err != io.EOF {
			t.Errorf("after the end: %v, want EOF again", err)
		}
	}
	if p, ok := s.(dataflow.Progresser); ok {
		if got := p.Progress(); got.Rows != int64(len(f.want)) && !f.Inexact {
			t.Errorf("progress at the end is %+v, want %d rows", got, len(f.want))
		}
	} else {
		t.Error("the stream reports no progress")
	}
	closeTwice(t, s)
	if p, ok := s.(dataflow.Progresser); ok {
		p.Progress() // another goroutine may ask late
	}

	s = open(env) // closed before the end
	if b, err := s.Next(t.Context()); err == nil {
		b.Release()
	}
	closeTwice(t, s)
	if _, err := s.Next(t.Context()); err == nil {
		t.Error("a closed stream still gives rows")
	}
	closeTwice(t, open(env)) // never read

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s = open(env)
	if _, err := s.Next(ctx); err != io.EOF && !errors.Is(err, context.Canceled) {
		t.Errorf("under a cancelled context: %v", err)
	}
	closeTwice(t, s)
}

// damage truncates the file and flips bits in it. There may be no checksum to
// notice, so rows may come; but an error has a name and a path, and nothing
// panics or leaks.
func (f *fixture) damage(t *testing.T) {
	if len(f.data) == 0 {
		t.Skip("an empty file")
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	try := func(what string, data []byte) {
		env, done := Env(t)
		if f.Forgetful {
			env.Alloc = memory.DefaultAllocator
		}
		defer done()
		r := f.reader(t)
		schema, err := r.Schema(t.Context(), func() (*files.Input, error) { return InputOf(data, 0, int64(len(data))), nil })
		if err == nil {
			_, err = ReadRange(env, r, schema, data, 0, int64(len(data)))
		}
		if err == nil {
			return
		}
		if e := new(dataflow.Error); !errors.As(err, &e) || !strings.Contains(err.Error(), "test.file") || dataflow.KindOf(err) == dataflow.Unknown {
			t.Errorf("%s: %v (%T, kind %s), want a *dataflow.Error that names file and kind", what, err, err, dataflow.KindOf(err))
		}
	}
	step := max(1, len(f.data)/race.Tries(40, 40, 8))
	for n := 0; n < len(f.data); n += step {
		try(fmt.Sprintf("truncated to %d of %d bytes", n, len(f.data)), f.data[:n])
	}
	for range race.Tries(100, 100, 15) {
		bad := slices.Clone(f.data)
		at, bit := rnd.IntN(len(bad)), rnd.IntN(8)
		bad[at] ^= 1 << bit
		try(fmt.Sprintf("bit %d of byte %d flipped", bit, at), bad)
	}
}

func closeTwice(t *testing.T, s dataflow.Stream) {
	t.Helper()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

// Env is an environment whose memory must be given back: call done at the end.
func Env(t testing.TB) (env *dataflow.Env, done func()) {
	env = dataflow.NewEnv(t.Context())
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	env.Alloc = mem
	return env, func() {
		t.Helper()
		mem.AssertSize(t, 0)
		if n := env.Memory.Used(); n != 0 {
			t.Errorf("%d bytes are still reserved", n)
		}
	}
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%s: %d rows, want %d; row %d is %s, want %s", what, len(got), len(want), i, g, w)
		}
	}
}
