package dataflow

import "unsafe"

const (
	// hotLines of two strings each are 256 KiB, which stay in a core's own cache. They
	// are a power of two.
	hotLines = 4 << 10
	// tallyWait is how many strings wait at most to be looked for at once: a power of two.
	tallyWait = 1024
	// hotLearn is after how many strings it is first looked which are frequent, and
	// hotAgain times as many after how many the next time. Where there are such already,
	// of before, it is first looked after hotKnown.
	hotLearn = 1 << 16
	hotAgain = 4
	hotKnown = hotLearn * hotAgain * hotAgain * hotAgain
)

// A tally is the partial aggregation of Count where strings are counted. Most of a
// text are few words: they are counted in a small table in front of the large one,
// without a branch, and added to the large one at the end. The others wait until there
// are hundreds, and are looked for in the large table together, so that the processor
// fetches many of its slots at a time and not each in turn. Where it is larger than the
// processor's caches they first wait once more, for their part of it (lateKeys).
//
// It passes on what it has whenever the table is full, as partial does.
type tally struct {
	r     *run
	at    int
	emit  func(k string, n int64)
	out   *stringPairs[int64] // instead of emit, where it is not nil
	t     *stringTable[string, int64]
	hot   []hotLine
	learn int // of rows: when to look again what is frequent
	keys  keyArena
	late  *lateKeys // nil where none wait for parts of the table

	rows      int // since the table was last empty, or since rows pass through
	asked     int // the rows when counts was last asked
	through   bool
	lateHeld  bool   // the room of late is reserved
	lateAsked int    // for a table of so many slots it was asked for
	touched   uint64 // so that touching is not thought to be for nothing

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

// hotStrings are what was frequent for a tally that has ended.
type hotStrings struct {
	of    *Node // the step; others have other strings
	lines []hotLine
}

func newTally(r *run, at int, out *stringPairs[int64], emit func(k string, n int64)) *tally {
	b := newBudget(r.env, r.steps[at].Name, partialBytesMax)
	r.atEnd(b.close)
	c := &tally{r: r, at: at, emit: emit, out: out, t: newHighTable[string, int64](b), learn: hotLearn}
	c.inherit(r.env.Memory.Limit() / 2)
	r.atEnd(c.bequeath)
	left, _ := inherit[hotStrings](r.env.Memory)
	switch {
	case !b.grow(hotBytes):
		c.hot = make([]hotLine, 1)
	case left.of == r.steps[at]:
		c.hot, c.learn = left.lines, hotKnown
	default:
		c.hot = make([]hotLine, hotLines)
	}
	return c
}

const hotBytes = hotLines * int64(unsafe.Sizeof(hotLine{}))

// inherit takes the slots of a tally that has ended, if they are of at most so many bytes
// or most is 0.
func (c *tally) inherit(most int64) {
	slots, _ := inherit[[]stringSlot[int64]](c.r.env.Memory)
	more := c.t.bytes(len(slots) - len(c.t.slots))
	if more <= 0 || most > 0 && more > most || !c.t.b.grow(more) {
		return
	}
	clear(slots)
	c.t.use(slots)
}

// bequeath leaves them to the next tally.
func (c *tally) bequeath() {
	c.leaveLate()
	if len(c.hot) == hotLines {
		for i := range c.hot {
			c.hot[i][0].n, c.hot[i][1].n = 0, 0
		}
		c.t.b.shrink(hotBytes)
		leave(c.r.env.Memory, hotStrings{c.r.steps[c.at], c.hot}, hotBytes)
	}
	if slots := c.t.slots; len(slots) > tableSlotsMin {
		c.t.b.shrink(c.t.bytes(len(slots)))
		leave(c.r.env.Memory, slots, c.t.bytes(len(slots)))
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
	h := k.hash()
	line := hotLineOf(c.hot, h)
	is0, is1 := isZero(line[0].differs(&k)), isZero(line[1].differs(&k))
	line[0].n += is0
	line[1].n += is1
	at := c.n & (tallyWait - 1)
	c.waiting[at], c.hashes[at] = k, h
	c.rows++
	if c.n += int(1 - is0 - is1); c.n == tallyWait {
		c.drain()
	}
}

// hotLineOf is where a string is if it is hot: by other bits of its hash than those that
// find its slot in the table.
func hotLineOf(hot []hotLine, h uint64) *hotLine { return &hot[h>>20&uint64(len(hot)-1)] }

// isZero is 1 for 0 and else 0.
func isZero(x uint64) (is int64) {
	if x == 0 {
		is = 1
	}
	return is
}

// drain counts the strings that wait, none of which is hot.
func (c *tally) drain() {
	n := c.n
	c.n = 0
	switch {
	case !c.counts():
		c.pass(c.waiting[:n])
	case c.later():
		c.wait(n)
	default:
		c.find(c.waiting[:n], c.hashes[:n])
	}
	if c.rows >= c.learn && !c.through {
		c.learn *= hotAgain
		c.choose()
	}
}

// find counts strings of which the hashes are known in the table.
func (c *tally) find(keys []shortKey, hashes []uint64) {
	c.touched += c.t.touch(hashes)
	for i := range keys {
		k, h := &keys[i], hashes[i]
		e := &c.t.slots[c.t.slot(h)&uint64(len(c.t.slots)-1)]
		if e.differs(k) == 0 {
			e.v++
			continue
		}
		v := c.value(k, h)
		if v == nil {
			if c.full(); c.through {
				c.pass(keys[i:])
				return
			}
			v = c.value(k, h)
		}
		*v++
	}
}

// value is where the count of a string lies; nil when there is no room for a new one.
func (c *tally) value(k *shortKey, h uint64) *int64 {
	v, _ := c.t.atShort(k, h)
	if v == nil {
		v = c.atLate(func() *int64 { v, _ := c.t.atShort(k, h); return v })
	}
	return v
}

// longValue is value for a string that has no short key.
func (c *tally) longValue(s string) *int64 {
	v, _ := c.t.atLong(s)
	if v == nil {
		v = c.atLate(func() *int64 { v, _ := c.t.atLong(s); return v })
	}
	return v
}

// counts says whether the strings that have come since it was last asked are to be
// counted here.
func (c *tally) counts() bool {
	before := c.asked
	c.asked = c.rows
	switch {
	case c.through:
		if before >= partialThrough {
			c.through, c.rows, c.asked = false, c.rows-before, c.rows-before
		}
	case before < partialTrial && c.rows >= partialTrial:
		c.settleAll()
		if c.t.len() > before/10*9 {
			c.flush()
			c.through = true
		}
	}
	return !c.through
}

// choose makes those strings hot that were the most frequent so far.
func (c *tally) choose() {
	c.settleAll()
	c.cool()
	clear(c.hot)
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
		line := hotLineOf(c.hot, e.hash())
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

// cool adds the counts of what is hot to the large table, or passes on those for which
// that has no room.
func (c *tally) cool() {
	for i := range c.hot {
		for j := range c.hot[i] {
			e := &c.hot[i][j]
			if e.n == 0 {
				continue
			}
			if v := c.value(&e.shortKey, e.hash()); v != nil {
				*v += e.n
			} else {
				c.passOn(&e.shortKey, e.n)
			}
			e.n = 0
		}
	}
	c.r.at = c.at
}

// long counts a string that has no short key.
func (c *tally) long(s string) {
	c.rows++
	if c.counts() {
		v := c.longValue(s)
		if v == nil {
			if c.full(); !c.through {
				v = c.longValue(s)
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
	useless := c.t.len() > (c.rows-c.lateKeys())/10*9
	c.flush()
	c.through = useless
}

// pass hands strings on as they came.
func (c *tally) pass(keys []shortKey) {
	for i := range keys {
		c.passOn(&keys[i], 1)
	}
}

func (c *tally) passOn(k *shortKey, n int64) {
	if c.out != nil {
		c.out.short(k, n)
	} else {
		c.emit(c.keys.short(k), n)
	}
}

// flush passes on all that was counted, and begins anew.
func (c *tally) flush() {
	c.send()
	c.t.reset()
	c.rows, c.asked, c.learn = 0, 0, hotLearn
	c.r.at = c.at
}

// send passes on all that was counted.
func (c *tally) send() {
	c.cool()
	if c.out != nil {
		c.t.pairs(c.out)
	} else {
		c.t.each(func(k string, n *int64) { c.emit(k, *n) })
	}
}

// done passes on what is left, at the end of the input.
func (c *tally) done() {
	c.drain()
	c.settleAll()
	c.leaveLate()
	c.send()
}
