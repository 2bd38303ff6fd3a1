package dataflow

import (
	"sync"
	"unsafe"
)

const (
	// hotLines of two strings each are 256 KiB, which stay in a core's own cache. They
	// are a power of two.
	hotLines = 4 << 10
	// tallyWait is how many strings are looked for at once: a power of two.
	tallyWait = 512
	// hotLearn is after how many strings it is first looked which are frequent, and
	// hotAgain times as many after how many the next time.
	hotLearn = 1 << 16
	hotAgain = 4
)

// A tally is the partial aggregation of Count where strings are counted. Most of a
// text are few words: they are counted in a small table in front of the large one,
// hundreds at once and without a branch, and added to the large one at the end. The
// others are looked for in the large table, hundreds at once too, so that the
// processor waits for many of its slots at a time and not for each in turn.
//
// It passes on what it has whenever the table is full, as partial does.
type tally struct {
	r     *run
	at    int
	emit  func(k string, n int64)
	out   *stringPairs[int64] // instead of emit, where it is not nil
	t     *stringTable[string, int64]
	hot   []hotLine // what it holds is in t too
	learn int       // of rows: when to look again what is frequent
	keys  keyArena

	rows    int // since the table was last empty, or since rows pass through
	through bool
	touched uint64 // so that touching is not thought to be for nothing

	n       int // of waiting
	waiting [tallyWait]shortKey
	hashes  [tallyWait]uint64
}

// A hotLine is the two strings that have a place in one line of the cache.
type hotLine [2]struct {
	shortKey
	n int64 // not yet added to the large table
	_ int64
}

func newTally(r *run, at int, out *stringPairs[int64], emit func(k string, n int64)) *tally {
	b := newBudget(r.env, r.steps[at].Name, partialBytesMax)
	r.atEnd(b.close)
	c := &tally{r: r, at: at, emit: emit, out: out, t: newStringTable[string, int64](b), learn: hotLearn}
	c.inherit(r.env.Memory.Limit() / 4)
	r.atEnd(c.bequeath)
	lines := 1
	if b.grow(hotLines * int64(unsafe.Sizeof(hotLine{}))) {
		lines = hotLines
	}
	c.hot = make([]hotLine, lines)
	return c
}

// tallySlots are slots of tallies that have ended, for the next: memory that is touched
// for the first time is many times slower than memory that is cleared. What nobody takes
// is gone after two garbage collections.
var tallySlots sync.Pool

// inherit takes the slots of a tally that has ended, if they are of at most so many bytes
// or most is 0.
func (c *tally) inherit(most int64) {
	left, _ := tallySlots.Get().(*[]stringSlot[int64])
	if left == nil {
		return
	}
	slots := *left
	more := c.t.bytes(len(slots) - len(c.t.slots))
	if more <= 0 || most > 0 && more > most || !c.t.b.grow(more) {
		return
	}
	clear(slots)
	c.t.slots, c.t.mask = slots, uint64(len(slots)-1)
}

func (c *tally) bequeath() {
	if len(c.t.slots) > tableSlotsMin {
		slots := c.t.slots
		tallySlots.Put(&slots)
	}
	c.t.slots = nil
}

// add counts one string.
func (c *tally) add(s string) {
	k, ok := shortOf(s)
	if !ok {
		c.long(s)
		return
	}
	c.waiting[c.n] = k
	if c.n++; c.n == tallyWait {
		c.drain()
	}
}

// drain counts the strings that wait.
func (c *tally) drain() {
	n := c.n
	c.n = 0
	if !c.counts(n) {
		c.pass(c.waiting[:n])
		return
	}
	misses := c.frequent(n)
	c.touched += c.t.touch(c.hashes[:misses])
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
	if c.rows >= c.learn {
		c.learn *= hotAgain
		c.choose()
	}
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
		if c.t.len() > before/10*9 {
			c.flush()
			c.through = true
		}
	}
	return !c.through
}

// frequent counts what of the first n that wait is hot, and brings the others to the
// front of waiting, with their hashes. Which are hot is as good as random, so nothing
// here is decided by a branch.
func (c *tally) frequent(n int) (misses int) {
	hot := c.hot
	for i := range n {
		k := c.waiting[i&(tallyWait-1)]
		h := k.hash()
		// The high bits, since t uses the low ones.
		line := &hot[h>>40&uint64(len(hot)-1)]
		is0 := isZero(line[0].differs(&k))
		is1 := isZero(line[1].differs(&k))
		line[0].n += is0
		line[1].n += is1
		c.waiting[misses&(tallyWait-1)] = k
		c.hashes[misses&(tallyWait-1)] = h
		misses += int(1 - is0 - is1)
	}
	return misses
}

// isZero is 1 for 0 and else 0.
func isZero(x uint64) int64 { return int64((x|-x)>>63 ^ 1) }

// choose makes those strings hot that were the most frequent so far.
func (c *tally) choose() {
	c.cool()
	var with [1 << 10]int // how many strings came so often; the last one, or more often
	most := int64(len(with) - 1)
	for i := range c.t.slots {
		if e := &c.t.slots[i]; !e.none() && !e.long() {
			with[min(e.v, most)]++
		}
	}
	least, room := most+1, 2*len(c.hot)
	for least > 2 && with[least-1] <= room {
		least--
		room -= with[least]
	}
	for i := range c.t.slots {
		e := &c.t.slots[i]
		if e.none() || e.long() || e.v < least {
			continue
		}
		line := &c.hot[e.hash()>>40&uint64(len(c.hot)-1)]
		rarer := &line[0]
		if line[1].n < rarer.n {
			rarer = &line[1]
		}
		if rarer.n < e.v {
			rarer.shortKey, rarer.n = e.shortKey, e.v
		}
	}
	for i := range c.hot {
		c.hot[i][0].n, c.hot[i][1].n = 0, 0
	}
}

// cool adds the counts of what is hot to the large table; then nothing is.
func (c *tally) cool() {
	for i := range c.hot {
		for j := range c.hot[i] {
			if e := &c.hot[i][j]; e.n > 0 {
				v, _ := c.t.atShort(&e.shortKey, e.hash())
				*v += e.n
			}
		}
	}
	clear(c.hot)
}

// long counts a string that has no short key.
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
	useless := c.t.len() > c.rows/10*9
	c.flush()
	c.through = useless
}

// pass hands strings on as they came.
func (c *tally) pass(keys []shortKey) {
	for i := range keys {
		if c.out != nil {
			c.out.short(&keys[i], 1)
		} else {
			c.emit(c.keys.short(&keys[i]), 1)
		}
	}
}

// flush passes on all that was counted.
func (c *tally) flush() {
	c.cool()
	if c.out != nil {
		c.t.pairs(c.out)
	} else {
		c.t.each(func(k string, n *int64) { c.emit(k, *n) })
	}
	c.t.reset()
	c.rows, c.learn = 0, hotLearn
	c.r.at = c.at
}

// done passes on what is left, at the end of the input.
func (c *tally) done() {
	c.drain()
	c.flush()
}
