package ops

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// codedMost is for how many combinations of words the groups are noted.
const codedMost = 1 << 12

// codedKeys are the groups of combinations of words, where all keys are text whose codes
// are known. They hold for as long as batches come with the same words.
type codedKeys struct {
	words []*array.Data // of each key
	gids  []int32       // by combination; 0: not met yet
	at    []uint32      // the combination of each row
}

// combine finds the combinations of n rows, or says false where that cannot be done.
func (c *codedKeys) combine(keys []arrow.Array, n int) bool {
	same, size := len(c.gids) > 0 && len(c.words) == len(keys), 1
	for k, a := range keys {
		_, words, ok := dataflow.CodesOf(a)
		if !ok {
			return false
		}
		if size *= words.Len() + 1; size > codedMost {
			return false
		}
		same = same && c.words[k] == words
	}
	if !same {
		c.words = c.words[:0]
		c.gids = make([]int32, size)
	}
	if cap(c.at) < n {
		c.at = make([]uint32, n)
	}
	c.at = c.at[:n]
	for k, a := range keys {
		codes, words, _ := dataflow.CodesOf(a)
		if !same {
			c.words = append(c.words, words)
		}
		if k == 0 {
			copy(c.at, codes)
			continue
		}
		times := uint32(words.Len() + 1)
		for i, code := range codes {
			c.at[i] = c.at[i]*times + code
		}
	}
	return true
}

// findCoded is find by codes. It says false where that cannot be done, or a new group finds
// no room: find has to do it then.
func (g *groupTable) findCoded(keys []arrow.Array, n int, sel, gids []int32) bool {
	c := &g.coded
	if !c.combine(keys, n) {
		return false
	}
	at, known := c.at, c.gids
	for _, i := range sel {
		gid := known[at[i]]
		if gid == 0 {
			if gid = g.findOne(keys, int(i)); gid == 0 {
				return false
			}
			known[at[i]] = gid
		}
		gids[i] = gid
	}
	return true
}

// findOne is the group of one row, made if it is new; 0 if there is no room.
func (g *groupTable) findOne(keys []arrow.Array, i int) int32 {
	row := make([]arrow.Array, len(keys))
	for k, a := range keys {
		row[k] = array.NewSlice(a, int64(i), int64(i)+1)
		defer row[k].Release()
	}
	g.load(row, 1)
	return g.findRow(0, g.longText())
}
