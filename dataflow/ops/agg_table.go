package ops

import (
	"math"
	"math/bits"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// A groupTable numbers distinct keys: 1, 2, and so on; 0 is for rows that found no
// room. A key is a few words: one for a number, two for a decimal or text, and one
// of null bits once there was a null. Text of at most 12 bytes lies in its words;
// of longer text these hold length, first bytes and hash, and an arena the rest.
type groupTable struct {
	cols  []keyColumn
	width int // words of a key
	nulls int // the word of null bits, or -1 while no null was met
	n     int // groups and one

	slots  []uint64  // low half of the hash, number of the group; 0 is free
	shift  uint      // of that half, to the slot where its probe begins
	keys   []uint64  // by group
	places [][]int64 // by column of text and group: where long text is in the arena
	arena  []byte

	// room is asked for so many more groups, and bytes of text.
	room     func(groups int, text int64) bool
	closed   bool // a row found none: its group's next row must not find some either
	cap      int  // groups that were granted
	textRoom int64

	words  []uint64 // of the batch at hand
	hashes []uint64
	missed []int32
	texts  []textColumn
	coded  codedKeys
}

type keyColumn struct {
	field arrow.Field
	word  int // the first
	text  int // position among the columns of text, or -1
}

// textColumn is the text of a batch at hand.
type textColumn struct {
	offsets []int32
	data    []byte
	long    bool // some is longer than inlineText
}

const inlineText = 12

// keyWords is how many words a value of a type takes in a key.
func keyWords(t arrow.DataType) (int, bool) {
	switch t.ID() {
	case arrow.STRING, arrow.BINARY, arrow.DECIMAL128:
		return 2, true
	case arrow.BOOL, arrow.FLOAT32, arrow.FLOAT64, arrow.DATE32, arrow.DATE64, arrow.TIME32, arrow.TIME64, arrow.TIMESTAMP, arrow.DURATION:
		return 1, true
	}
	return 1, arrow.IsInteger(t.ID())
}

func (g *groupTable) init(fields []arrow.Field) {
	g.nulls = -1
	for _, f := range fields {
		c := keyColumn{f, g.width, -1}
		if isText(f.Type) {
			c.text = len(g.texts)
			g.texts = append(g.texts, textColumn{})
			g.places = append(g.places, nil)
		}
		n, _ := keyWords(f.Type)
		g.width += n
		g.cols = append(g.cols, c)
	}
	g.reset()
}

func isText(t arrow.DataType) bool { return t.ID() == arrow.STRING || t.ID() == arrow.BINARY }

// reset forgets all groups. A small table keeps its memory.
func (g *groupTable) reset() {
	if len(g.slots) > 4*partialGroups || g.slots == nil {
		g.slots = make([]uint64, 64)
		g.shift = 32 - 6
		g.keys, g.arena = nil, nil
	} else {
		clear(g.slots)
	}
	g.n, g.cap, g.textRoom, g.closed = 1, 0, 0, false
	g.coded.gids = nil
	g.keys = append(g.keys[:0], make([]uint64, g.width)...)
	g.arena = g.arena[:0]
	for i := range g.places {
		g.places[i] = append(g.places[i][:0], 0)
	}
}

// bytesEach is the most that a group takes, beside long text.
func (g *groupTable) bytesEach() int64 {
	null := 0
	if g.nulls < 0 {
		null = 1 // the word that the first null would add
	}
	return int64(8*(g.width+null) + 8*len(g.texts) + 32)
}

func (g *groupTable) textBytes() int64 { return int64(len(g.arena)) }

// find sets gids to the groups of those that sel names of n rows with the given keys,
// and makes groups that are new. Rows for which there is no room get 0 and are
// returned.
func (g *groupTable) find(keys []arrow.Array, n int, sel, gids []int32) (missed []int32) {
	g.missed = g.missed[:0]
	if g.findCoded(keys, n, sel, gids) {
		return nil
	}
	g.load(keys, n)
	g.missed = g.missed[:0]
	switch {
	case len(g.slots) >= aheadSlots:
		g.findAhead(sel, gids)
	case g.width == 1:
		g.findNumbers(sel, gids)
	default:
		g.findWords(sel, gids)
	}
	return g.missed
}

func (g *groupTable) findNumbers(sel, gids []int32) {
	words, hashes := g.words, g.hashes
	slots, keys, shift := g.slots, g.keys, g.shift
	mask := uint64(len(slots) - 1)
	last, lastGroup := uint64(0), int32(0) // rows of one group often come together
	for _, r := range sel {
		i := int(r)
		w, h := words[i], hashes[i]
		if w == last && lastGroup != 0 {
			gids[i] = lastGroup
			continue
		}
		for at := uint64(uint32(h)) >> shift; ; at = (at + 1) & mask {
			s := slots[at&mask]
			if s == 0 {
				gids[i] = g.insert(i, h, at)
				slots, keys, shift = g.slots, g.keys, g.shift
				mask = uint64(len(slots) - 1)
				break
			}
			if s>>32 == h&math.MaxUint32 && keys[uint32(s)] == w {
				gids[i] = int32(uint32(s))
				break
			}
		}
		last, lastGroup = w, gids[i]
	}
}

func (g *groupTable) findWords(sel, gids []int32) {
	long := g.longText()
	for _, i := range sel {
		gids[i] = g.findRow(int(i), long)
	}
}

// longText says whether text of the batch at hand does not fit into its words.
func (g *groupTable) longText() bool {
	for _, t := range g.texts {
		if t.long {
			return true
		}
	}
	return false
}

// findRow is the group of row i, made if it is new; 0 if there is no room.
func (g *groupTable) findRow(i int, long bool) int32 {
	h, mask := g.hashes[i], uint64(len(g.slots)-1)
	for at := g.home(h); ; at = (at + 1) & mask {
		s := g.slots[at]
		if s == 0 {
			return g.insert(i, h, at)
		}
		if gid := int(uint32(s)); s>>32 == h&math.MaxUint32 && g.same(i, gid, long) {
			return int32(gid)
		}
	}
}

// may says whether a group has the half of the hash that slots know.
func (g *groupTable) may(h uint64) bool {
	mask := uint64(len(g.slots) - 1)
	for at := g.home(h); g.slots[at] != 0; at = (at + 1) & mask {
		if g.slots[at]>>32 == h&math.MaxUint32 {
			return true
		}
	}
	return false
}

// home is where the probe of a hash begins.
func (g *groupTable) home(h uint64) uint64 { return uint64(uint32(h)) >> g.shift }

// same compares the key of row i with a group's.
func (g *groupTable) same(i, gid int, long bool) bool {
	w := g.width
	key, have := g.words[i*w:(i+1)*w], g.keys[gid*w:(gid+1)*w]
	for j, x := range key {
		if have[j] != x {
			return false
		}
	}
	return !long || g.sameText(i, gid)
}

// sameText compares the long text of row i with a group's.
func (g *groupTable) sameText(i, gid int) bool {
	for _, c := range g.cols {
		if c.text < 0 {
			continue
		}
		size := int(uint32(g.words[i*g.width+c.word]))
		if size <= inlineText {
			continue
		}
		t, at := &g.texts[c.text], g.places[c.text][gid]
		if string(t.data[t.offsets[i]:t.offsets[i+1]]) != string(g.arena[at:at+int64(size)]) {
			return false
		}
	}
	return true
}

// insert makes a group of row i, whose slot is free, and gives its number; 0 if
// there is no room. From then on, until reset, there is none for any group: what others
// have given back by then could else make a second one of a group whose first rows are
// spilled.
func (g *groupTable) insert(i int, h, at uint64) int32 {
	if g.closed || g.n-1 == g.cap && !g.more(max(64, g.cap/2)) && !g.more(1) || g.n == math.MaxInt32 {
		return g.miss(i)
	}
	key := g.words[i*g.width : (i+1)*g.width]
	for _, c := range g.cols {
		if c.text < 0 {
			continue
		}
		place := int64(0)
		if size := int64(uint32(key[c.word])); size > inlineText {
			if int64(len(g.arena))+size > g.textRoom {
				add := max(size, min(int64(len(g.arena)), 1<<20))
				if !g.room(0, add) {
					if add = size; !g.room(0, add) {
						for _, c := range g.cols { // what was put for columns before
							if c.text >= 0 {
								g.places[c.text] = g.places[c.text][:g.n]
							}
						}
						return g.miss(i)
					}
				}
				g.textRoom = max(g.textRoom, int64(len(g.arena))) + add
			}
			t := &g.texts[c.text]
			place = int64(len(g.arena))
			g.arena = append(g.arena, t.data[t.offsets[i]:t.offsets[i+1]]...)
		}
		g.places[c.text] = append(g.places[c.text], place)
	}
	gid := g.n
	g.n++
	g.keys = append(g.keys, key...)
	if 2*g.n > len(g.slots) {
		g.rehash()
		at = g.free(h)
	}
	g.slots[at] = h<<32 | uint64(gid)
	return int32(gid)
}

// miss notes that row i found no room.
func (g *groupTable) miss(i int) int32 {
	g.missed, g.closed = append(g.missed, int32(i)), true
	return 0
}

func (g *groupTable) more(n int) bool {
	if !g.room(n, 0) {
		return false
	}
	g.cap += n
	if n >= 64 { // in steps as large as they are granted, which append's are not
		g.keys = slices.Grow(g.keys, n*g.width)
		for i := range g.places {
			g.places[i] = slices.Grow(g.places[i], n)
		}
	}
	return true
}

func (g *groupTable) free(h uint64) uint64 {
	mask := uint64(len(g.slots) - 1)
	at := g.home(h)
	for g.slots[at] != 0 {
		at = (at + 1) & mask
	}
	return at
}

// expect makes room for so many more groups, or says false.
func (g *groupTable) expect(groups int) bool {
	if !g.more(groups) {
		return false
	}
	if doubled := bits.Len(uint(2 * (g.n + groups) / len(g.slots))); doubled > 0 {
		g.enlarge(doubled)
	}
	return true
}

// rehash doubles the table.
func (g *groupTable) rehash() { g.enlarge(1) }

// enlarge doubles the table so many times. What slots say of hashes is enough for that; it
// goes through both tables in order.
func (g *groupTable) enlarge(times int) {
	old := g.slots
	g.slots = make([]uint64, len(old)<<times)
	g.shift -= uint(times)
	for _, s := range old {
		if s != 0 {
			g.slots[g.free(s>>32)] = s
		}
	}
}

// emit makes an array of a key column of the groups from, ..., to-1.
func (g *groupTable) emit(mem memory.Allocator, c, from, to int) (arrow.Array, error) {
	col, n := g.cols[c], to-from
	w := g.width
	at := func(i int) []uint64 { return g.keys[(from+i)*w+col.word:] }
	valid, nulls := g.emitValid(mem, c, from, to)
	switch id := col.field.Type.ID(); {
	case id == arrow.BOOL:
		buf := zeroBytes(mem, (n+7)/8)
		defer buf.Release()
		for i := range n {
			buf.Bytes()[i/8] |= byte(at(i)[0]) << (i % 8)
		}
		return newArray(col.field.Type, n, nulls, valid, buf), nil
	case isText(col.field.Type):
		return g.emitText(mem, col, from, to, valid, nulls)
	case id == arrow.DECIMAL128:
		buf := dataflow.NewBuffer(mem, 16*n)
		defer buf.Release()
		dst := arrow.Decimal128Traits.CastFromBytes(buf.Bytes())
		for i := range dst {
			k := at(i)
			dst[i] = decimal128.New(int64(k[1]), k[0])
		}
		return newArray(col.field.Type, n, nulls, valid, buf), nil
	case id == arrow.FLOAT32:
		buf := dataflow.NewBuffer(mem, 4*n)
		defer buf.Release()
		dst := arrow.Float32Traits.CastFromBytes(buf.Bytes())
		for i := range dst {
			dst[i] = float32(math.Float64frombits(at(i)[0]))
		}
		return newArray(col.field.Type, n, nulls, valid, buf), nil
	}
	width := col.field.Type.(arrow.FixedWidthDataType).BitWidth() / 8
	buf := dataflow.NewBuffer(mem, width*n)
	defer buf.Release()
	raw := buf.Bytes()
	switch keys := g.keys[from*w+col.word:]; width {
	case 1:
		takeWords(raw, keys, w)
	case 2:
		takeWords(arrow.Uint16Traits.CastFromBytes(raw), keys, w)
	case 4:
		takeWords(arrow.Uint32Traits.CastFromBytes(raw), keys, w)
	default:
		takeWords(arrow.Uint64Traits.CastFromBytes(raw), keys, w)
	}
	return newArray(col.field.Type, n, nulls, valid, buf), nil
}

// takeWords is the opposite of putWords, by the numbers' bits.
func takeWords[T uint8 | uint16 | uint32 | uint64](dst []T, src []uint64, w int) {
	for i := range dst {
		dst[i] = T(src[i*w])
	}
}

func (g *groupTable) emitValid(mem memory.Allocator, c, from, to int) (*memory.Buffer, int) {
	if g.nulls < 0 || !g.cols[c].field.Nullable {
		return nil, 0
	}
	buf := zeroBytes(mem, (to-from+7)/8)
	dst, nulls := buf.Bytes(), 0
	for i := range to - from {
		null := g.keys[(from+i)*g.width+g.nulls] >> c & 1
		dst[i/8] |= byte(null^1) << (i % 8)
		nulls += int(null)
	}
	return buf, nulls
}

// zeroBytes is for who does not fill all of a buffer, see dataflow.NewBuffer.
func zeroBytes(mem memory.Allocator, n int) *memory.Buffer {
	buf := dataflow.NewBuffer(mem, n)
	clear(buf.Bytes())
	return buf
}

// newArray makes an array of buffers that it takes its own references to; valid is
// given away.
func newArray(t arrow.DataType, n, nulls int, valid *memory.Buffer, rest ...*memory.Buffer) arrow.Array {
	d := array.NewData(t, n, append([]*memory.Buffer{valid}, rest...), nil, nulls, 0)
	defer d.Release()
	if valid != nil {
		valid.Release()
	}
	return array.MakeFromData(d)
}
