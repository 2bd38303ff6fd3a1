package dataflow

import "unsafe"

const (
	// lateWays are the parts of a large table that strings wait for: a part of a table of
	// two million slots stays in a core's own cache.
	lateBits = 7
	lateWays = 1 << lateBits
	// lateEach is how many strings wait for a part before they are looked for in it. The
	// more, the more of them find their slot in a line of the cache that another brought.
	lateEach = 8 << 10
	// lateSlots is how many slots a table has for which this pays.
	lateSlots = 1 << 18
	// lateBytes is what they take.
	lateBytes = int64(unsafe.Sizeof(lateKeys{}))
)

// A lateKeys is strings that wait to be looked for in a table which is larger than the
// processor's caches: each for the part of the table that its hash leads to. Those of one
// part are looked for together, while that part is in the cache.
type lateKeys struct {
	n    [lateWays]int
	keys [lateWays][lateEach + tallyWait]shortKey
}

// later says whether strings are to wait for their part of the table.
func (c *tally) later() bool {
	slots := len(c.t.slots)
	switch {
	case c.late != nil:
		if !c.lateHeld {
			c.settleAll()
			c.leaveLate()
		}
	case slots >= lateSlots && slots != c.lateAsked:
		c.lateAsked = slots
		left, _ := inherit[*lateKeys](c.r.env.Memory)
		if c.lateHeld = c.t.b.grow(lateBytes); c.lateHeld {
			if c.late = left; left == nil {
				c.late = new(lateKeys)
			}
		}
	}
	return c.late != nil
}

// wait has the first n of waiting wait for their parts, and looks for those of a part
// for which enough do.
func (c *tally) wait(n int) {
	l := c.late
	for i := range n {
		way := c.hashes[i] >> (64 - lateBits)
		l.keys[way][l.n[way]] = c.waiting[i]
		l.n[way]++
	}
	for way := range lateWays {
		if l.n[way] >= lateEach {
			c.settle(way)
		}
	}
}

// settle looks for the strings that wait for one part.
func (c *tally) settle(way int) {
	var hashes [tallyWait / 2]uint64
	keys := c.late.keys[way][:c.late.n[way]]
	c.late.n[way] = 0
	for len(keys) > 0 {
		n := min(len(keys), len(hashes))
		for i := range n {
			hashes[i] = keys[i].hash()
		}
		c.find(keys[:n], hashes[:n])
		keys = keys[n:]
	}
}

// settleAll looks for all strings that wait for parts.
func (c *tally) settleAll() {
	if c.late == nil {
		return
	}
	for way := range lateWays {
		c.settle(way)
	}
}

// lateKeys is how many strings wait for parts.
func (c *tally) lateKeys() (n int) {
	if c.late != nil {
		for _, m := range c.late.n {
			n += m
		}
	}
	return n
}

// atLate is at, which may ask for room that strings which wait take: they lend it, and
// where they do not get it back wait no longer.
func (c *tally) atLate(at func() *int64) *int64 {
	if !c.lateHeld {
		return nil
	}
	c.t.b.shrink(lateBytes)
	v := at()
	c.lateHeld = c.t.b.grow(lateBytes)
	return v
}

// leaveLate leaves the room to the next tally.
func (c *tally) leaveLate() {
	if c.late == nil {
		return
	}
	if c.lateHeld {
		c.t.b.shrink(lateBytes)
		c.lateHeld = false
	}
	c.late.n = [lateWays]int{}
	leave(c.r.env.Memory, c.late, lateBytes)
	c.late = nil
}
