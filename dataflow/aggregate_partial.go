package dataflow

// Limits of a partial aggregation.
const (
	// partialBytesMax is what a table may take: one of words that doubles to two million
	// slots fits, and with it the words of any task's share of a natural text. Each key
	// that is passed on twice costs more than the caches that a smaller table stays in.
	partialBytesMax = 80 << 20
	// After so many rows it is looked at whether gathering helps: if more than nine
	// in ten rows made an entry, rows pass through for a while.
	partialTrial   = 1 << 16
	partialThrough = 1 << 20
)

// partial gathers values by key as far as its table reaches, and passes on what it
// has whenever the table is full. What comes out may hold a key several times.
type partial[K comparable, V any] struct {
	r    *run
	at   int
	emit func(Pair[K, V])
	t    table[K, V]
	kept kept[V]

	rows    int  // since the table was last empty
	through bool // rows pass for now
	fresh   bool // of the last value
}

func newPartial[K comparable, V any](r *run, at int, key *codec[K], emit func(Pair[K, V])) *partial[K, V] {
	b := newBudget(r.env, r.steps[at].Name, partialBytesMax)
	r.atEnd(b.close)
	return &partial[K, V]{r: r, at: at, emit: emit, t: newTable[K, V](b, key.layout), kept: newKept[V](b)}
}

// add merges a value into its key's.
func (p *partial[K, V]) add(k K, v V, merge func(a, b V) V) {
	p.r.at = p.at
	a := p.value(k)
	if a == nil {
		p.emit(Pair[K, V]{k, v})
		return
	}
	if p.kept.keeper != nil {
		p.kept.before(a, p.fresh)
	}
	if p.fresh {
		*a = v
	} else {
		*a = merge(*a, v)
	}
	p.changed(a)
}

// changed is called when a value was set, after kept.before.
func (p *partial[K, V]) changed(a *V) {
	if p.kept.keeper != nil && !p.kept.after(a) {
		p.flush()
	}
}

// value is where the value of a key lies, p.fresh whether it is yet to be set; nil
// means that the row passes through.
func (p *partial[K, V]) value(k K) *V {
	if p.through || p.rows == partialTrial {
		if p.pass() {
			return nil
		}
	}
	var v *V
	if v, p.fresh = p.t.at(k); v == nil {
		useless := p.t.len() > p.rows/10*9
		p.flush()
		if useless {
			p.through = true
			return nil
		}
		v, p.fresh = p.t.at(k)
	}
	p.rows++
	return v
}

// pass decides whether the next row passes through: at the end of the trial, and
// while rows pass.
func (p *partial[K, V]) pass() bool {
	if !p.through {
		if p.t.len() <= partialTrial/10*9 {
			return false
		}
		p.flush()
		p.through = true
	}
	if p.rows++; p.rows == partialThrough {
		p.through, p.rows = false, 0
	}
	return true
}

// flush passes on all that was gathered.
func (p *partial[K, V]) flush() {
	p.t.each(func(k K, v *V) { p.emit(Pair[K, V]{k, *v}) })
	p.t.reset()
	p.kept.reset()
	p.rows = 0
	p.r.at = p.at
}
