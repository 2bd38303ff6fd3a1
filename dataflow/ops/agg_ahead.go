package ops

import "math"

const (
	// aheadSlots is how large a table is that does not stay in the cache nearest to the
	// core: there rows wait for memory.
	aheadSlots = 1 << 14
	// aheadRows wait together.
	aheadRows = 256
)

// findAhead is find for large tables. All slots of some rows are read, then the first
// words of all keys that these name, so that the waits for memory overlap; that answers for
// rows of groups which are there already, in the slot where their probe begins. Other rows
// are looked for one by one, in lines that are in the cache by then.
func (g *groupTable) findAhead(sel, gids []int32) {
	var slot, first [aheadRows]uint64
	long, width := g.longText(), g.width
	for len(sel) > 0 {
		part := sel[:min(len(sel), aheadRows)]
		sel = sel[len(part):]
		slots, keys, hashes, shift := g.slots, g.keys, g.hashes, g.shift
		for k, i := range part {
			slot[k] = slots[uint64(uint32(hashes[i]))>>shift]
		}
		for k := range part {
			first[k] = keys[int(uint32(slot[k]))*width] // of group 0 where the slot is free
		}
		for k, r := range part {
			i, s := int(r), slot[k]
			gid := int(uint32(s))
			if gid != 0 && s>>32 == hashes[i]&math.MaxUint32 && first[k] == g.words[i*width] && (width == 1 || g.same(i, gid, long)) {
				gids[i] = int32(gid)
				continue
			}
			gids[i] = g.findRow(i, long)
		}
	}
}
