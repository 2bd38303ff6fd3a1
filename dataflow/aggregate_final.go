package dataflow

import (
	"fmt"
	"io"
	"unsafe"
)

const (
	spillBits  = 4
	spillWays  = 1 << spillBits
	spillDepth = 8 // after so many divisions keys that collide so often are one key
)

// final merges the partial results of each key. When its table may not grow, what
// it holds goes to spill runs, divided by the hash of the key; at the end each run
// is merged on its own, divided again where need be.
type final[K comparable, A any] struct {
	r     *run
	at    int
	in    *codec[Pair[K, A]]
	merge func(a, b A) A
	b     *budget
	t     table[K, A]
	kept  kept[A]
	depth int

	ways [spillWays]*spillWay[K, A] // nil until something was spilled
	key  K                          // where the hash finds the key
}

type spillWay[K comparable, A any] struct {
	out  SpillWriter
	rows *rowWriter[Pair[K, A]]
}

func newFinal[K comparable, A any](r *run, at int, in *codec[Pair[K, A]], merge func(a, b A) A) *final[K, A] {
	f := &final[K, A]{r: r, at: at, in: in, merge: merge}
	f.b = newBudget(r.env, r.steps[at].Name, 0)
	f.b.pressed = r.env.Spill == nil
	r.atEnd(f.b.close)
	r.atEnd(f.abort)
	f.t = newTable[K, A](f.b, in.fields[0].layout)
	f.kept = newKept[A](f.b)
	return f
}

func (f *final[K, A]) add(p Pair[K, A]) {
	f.r.at = f.at
	a, fresh := f.t.at(p.Key)
	if a == nil {
		f.spill()
		a, fresh = f.first(p.Key)
	}
	if f.kept.keeper != nil {
		f.kept.before(a, fresh)
	}
	if fresh {
		*a = p.Value
	} else {
		*a = f.merge(*a, p.Value)
	}
	if f.kept.keeper != nil && !f.kept.after(a) {
		f.spill()
	}
}

// first is where the value of the only key lies: it cannot be done without.
func (f *final[K, A]) first(k K) (a *A, fresh bool) {
	f.b.pressed = true
	a, fresh = f.t.at(k)
	f.b.pressed = false
	return a, fresh
}

// spill moves all entries to the runs. It is not called where there is nowhere to spill
// to, or no use: there the budget is pressed.
func (f *final[K, A]) spill() {
	hash := f.in.fields[0].hash
	f.t.each(func(k K, a *A) {
		f.key = k
		i := hash(unsafe.Pointer(&f.key), uint64(f.depth)+1) >> (64 - spillBits)
		w := f.ways[i]
		if w == nil {
			w = f.open(i)
		}
		if w.rows.append(Pair[K, A]{k, *a}) {
			f.write(w)
		}
	})
	for _, w := range f.ways {
		if w != nil && w.rows.n > 0 {
			f.write(w)
		}
	}
	f.t.reset()
	f.kept.reset()
}

func (f *final[K, A]) open(i uint64) *spillWay[K, A] {
	env := *f.r.env
	env.BatchBytes = max(1, env.BatchBytes/spillWays) // all of them have one at once
	out, err := env.Spill.Create(&env, fmt.Sprintf("aggregate-%d-%d", f.depth, i), f.in.schema)
	if err != nil {
		f.r.fail(err)
	}
	f.ways[i] = &spillWay[K, A]{out: out, rows: f.in.writer(&env)}
	return f.ways[i]
}

func (f *final[K, A]) write(w *spillWay[K, A]) {
	b := w.rows.batch()
	err := w.out.Write(b)
	b.Release()
	if err != nil {
		f.r.fail(err)
	}
}

// abort throws away what was not read again.
func (f *final[K, A]) abort() {
	for i, w := range f.ways {
		if w != nil {
			w.rows.drop()
			w.out.Abort()
			f.ways[i] = nil
		}
	}
}

// finish passes every key and its value to emit.
func (f *final[K, A]) finish(emit func(K, A)) {
	if f.ways == [spillWays]*spillWay[K, A]{} {
		f.t.each(func(k K, a *A) { emit(k, *a) })
		f.t.free()
		return
	}
	f.spill()
	f.t.free()
	for i, w := range f.ways {
		if w == nil {
			continue
		}
		f.ways[i] = nil
		w.rows.drop()
		run, err := w.out.Finish()
		if err != nil {
			f.r.fail(err)
		}
		f.r.env.Spilled(SpillInfo{Operator: f.r.op(), Rows: run.Rows(), Bytes: run.Bytes()})
		f.again(run, emit)
	}
}

// again merges one run on its own.
func (f *final[K, A]) again(run SpillRun, emit func(K, A)) {
	defer run.Remove()
	s, err := run.Open()
	if err != nil {
		f.r.fail(err)
	}
	defer s.Close()
	f.b.pressed = f.depth+1 == spillDepth
	sub := &final[K, A]{r: f.r, at: f.at, in: f.in, merge: f.merge, b: f.b, depth: f.depth + 1}
	sub.t = newTable[K, A](f.b, f.in.fields[0].layout)
	sub.kept = newKept[A](f.b)
	defer sub.abort()
	for {
		b, err := s.Next(f.r.ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			f.r.fail(err)
		}
		sub.addAll(b)
	}
	sub.finish(emit)
}

func (f *final[K, A]) addAll(b Batch) {
	defer b.Release()
	get := f.in.reader(b)
	p := new(Pair[K, A])
	for i := range int(b.NumRows()) {
		get(i, unsafe.Pointer(p))
		f.add(*p)
	}
}
