package dataflow

import "unsafe"

const (
	// tallyHot is how many slots are in front of the table: 256 KiB, which stay in a
	// core's own cache. They are a power of two.
	tallyHot = 8 << 10
	// tallyWait is how many strings are looked for at once.
	tallyWait = 512
)

// A tally is the partial aggregation of Count where strings are counted. Most of a
// text are few words: they find their counts in a small table that the first ones to
// come fill. The others are looked for in the large table, hundreds at once, so that
// the processor waits for many of its slots at a time and not for each in turn.
//
// It passes on what it has whenever the table is full, as partial does.
type tally struct {
	r    *run
	at   int
	emit func(k string, n int64)
	out  *stringPairs[int64] // instead of emit, where it is not nil
	t    *stringTable[string, int64]
	hot  []stringSlot[int64] // pairs of neighbours that a key may be in; never in t too
	hots int                 // that are not empty
	keys keyArena

	rows    int // since the table was last empty, or since rows pass through
	through bool
	touched uint64 // so that touching is not thought to be for nothing

	n       int // of waiting
	waiting [tallyWait]shortKey
	hashes  [tallyWait]uint64
}

func newTally(r *run, at int, out *stringPairs[int64], emit func(k string, n int64)) *tally {
	b := newBudget(r.env, r.steps[at].Name, partialBytesMax)
	r.atEnd(b.close)
	c := &tally{r: r, at: at, emit: emit, out: out, t: newStringTable[string, int64](b)}
	slots := 2
	if b.grow(tallyHot * int64(unsafe.Sizeof(stringSlot[int64]{}))) {
		slots = tallyHot
	}
	c.hot = make([]stringSlot[int64], slots)
	return c
}

// add counts one string.
func (c *tally) add(s string) {
	if len(s) > shortMax {
		c.long(s)
		return
	}
	c.waiting[c.n] = shortOf(s)
	if c.n++; c.n == tallyWait {
		c.drain()
	}
}

// drain counts the strings that wait.
func (c *tally) drain() {
	n := c.n
	c.n = 0
	if c.counts(n) {
		misses := c.cached(n)
		for i := range misses {
			v, _ := c.t.atShort(&c.waiting[i], c.hashes[i])
			if v == nil {
				if c.full(); c.through {
					c.pass(c.waiting[i:misses])
					return
				}
				v, _ = c.t.atShort(&c.waiting[i], c.hashes[i])
			}
			*v++
		}
		return
	}
	c.pass(c.waiting[:n])
}

// counts notes that n strings have come and says whether they are to be counted here.
func (c *tally) counts(n int) bool {
	before := c.rows
	c.rows += n
	switch {
	case c.through:
		if before >= partialThrough {
			c.through, c.rows = false, n
		}
	case before < partialTrial && c.rows >= partialTrial:
		if c.hots+c.t.len() > before/10*9 {
			c.flush()
			c.through = true
		}
	}
	return !c.through
}

// cached counts what of the first n that wait is among the hot, and brings the others
// to the front of waiting, with their hashes, and the table's slots into reach.
func (c *tally) cached(n int) (misses int) {
	hot, mask := c.hot, uint64(len(c.hot)-1)
	for i := range c.waiting[:n] {
		k := c.waiting[i]
		h := k.hash()
		// The high bits, since t uses the low ones.
		first := &hot[(h>>40)&mask&uint64(len(hot)-1)]
		if (first.lo^k.lo)|(first.hi^k.hi)|(first.size^k.size) == 0 {
			first.v++
			continue
		}
		second := &hot[(h>>40^1)&mask&uint64(len(hot)-1)]
		if (second.lo^k.lo)|(second.hi^k.hi)|(second.size^k.size) == 0 {
			second.v++
			continue
		}
		if first.size == 0 {
			*first = stringSlot[int64]{k, 1}
			c.hots++
			continue
		}
		if second.size == 0 {
			*second = stringSlot[int64]{k, 1}
			c.hots++
			continue
		}
		c.waiting[misses], c.hashes[misses] = k, h
		misses++
	}
	c.touched += c.t.touch(c.hashes[:misses])
	return misses
}

// long counts a string that does not fit a short key.
func (c *tally) long(s string) {
	if c.counts(1) {
		v, _ := c.t.atLong(s)
		if v == nil {
			if c.full(); !c.through {
				v, _ = c.t.atLong(s)
			}
		}
		if v != nil {
			*v++
			return
		}
	}
	if c.out != nil {
		c.out.long(s, 1)
	} else {
		c.emit(s, 1)
	}
}

// full makes room, or lets rows pass where nearly each had an entry of its own.
func (c *tally) full() {
	useless := c.hots+c.t.len() > c.rows/10*9
	c.flush()
	c.through = useless
}

// pass hands strings on as they came.
func (c *tally) pass(keys []shortKey) {
	for i := range keys {
		c.short(&keys[i], 1)
	}
}

func (c *tally) short(k *shortKey, n int64) {
	if c.out != nil {
		c.out.short(k, n)
		return
	}
	c.emit(c.keys.short(k.lo, k.hi, int(k.size-1)), n)
}

// flush passes on all that was counted.
func (c *tally) flush() {
	for i := range c.hot {
		if e := &c.hot[i]; e.size != 0 {
			c.short(&e.shortKey, e.v)
		}
	}
	clear(c.hot)
	c.hots = 0
	if c.out != nil {
		c.t.pairs(c.out)
	} else {
		c.t.each(func(k string, n *int64) { c.emit(k, *n) })
	}
	c.t.reset()
	c.rows = 0
	c.r.at = c.at
}

// done passes on what is left, at the end of the input.
func (c *tally) done() {
	c.drain()
	c.flush()
}
