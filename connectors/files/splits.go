package files

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

const (
	targetMin = 16 << 20
	targetMax = 128 << 20
	// targetLarge is from where on a split is large enough for a slot to have three.
	targetLarge = 64 << 20
	// wholeMax is how long a file may be that is not cut although it could be, because one
	// would have to look for where, and there are enough others.
	wholeMax = 1 << 30
	// splitFilesMax is how many files a split may have, so that its description stays small
	// and not too much is done again where it fails.
	splitFilesMax = 1000
	// What opening a file costs, in bytes that could have been read meanwhile: on this
	// machine, in a cluster near by, and over a network.
	openNear    = 128 << 10
	openCluster = 1 << 20
	openFar     = 4 << 20
)

// limits of a split.
type limits struct {
	bytes int64
	cost  int64 // with what opening files costs
	whole int64 // no longer files are cut by an Aligner
}

// limitsFor says how large splits should be: four for each slot, if they are neither too
// small to be worth a task nor too large; three, where four are large too: what tasks
// gather before a shuffle is the less the fewer they are. What opening files costs makes
// splits smaller as long as that gives slots something to do, and no smaller.
func limitsFor(files []foundFile, hint dataflow.SplitHint) limits {
	var total, sizes int64
	for _, f := range files {
		total += f.size + openCost(f.uri)
		sizes += f.size
	}
	slots, each := int64(max(1, hint.Slots)), int64(4)
	if sizes/(slots*each) > targetLarge {
		each = 3
	}
	target := func(each int64) int64 { return max(targetMin, roundUp(total/(slots*each), 1<<20)) }
	l := limits{cost: target(each)}
	l.bytes = min(targetMax, l.cost)
	l.whole = min(wholeMax, target(4))
	if hint.MaxBytes > 0 {
		l.bytes = min(l.bytes, hint.MaxBytes)
		l.cost = min(l.cost, hint.MaxBytes)
		l.whole = 0
	}
	return l
}

func openCost(uri string) int64 {
	switch storage.Scheme(uri) {
	case "file", "mem":
		return openNear
	case "hdfs":
		return openCluster
	}
	return openFar
}

// cut makes splits: large files in ranges, small ones packed, all in order of name and
// place, so that one split after the other is the input from its beginning to its end.
// Where the storage says where bytes lie, a range is of one block, and what is packed
// together lies on one host as far as that does not make splits too small.
func (s *source) cut(ctx context.Context, found []foundFile, schema json.RawMessage, hint dataflow.SplitHint) ([]dataflow.Split, error) {
	most := limitsFor(found, hint)
	size := most.bytes
	var splits []dataflow.Split
	k := &pack{}
	flush := func() error {
		if len(k.pieces) == 0 {
			return nil
		}
		s, err := k.split(len(splits), schema)
		splits = append(splits, s)
		k = &pack{}
		return err
	}
	for _, f := range found {
		if f.size == 0 {
			continue
		}
		each := size
		if aligns(s.reader) && CodecOf(f.name) == Plain && f.size <= most.whole {
			each = max(size, f.size)
		}
		ranges, err := place(ctx, f, s.reader, each)
		if err == nil {
			ranges, err = s.align(ctx, f, ranges)
		}
		if err != nil {
			return nil, err
		}
		open := min(openCost(f.uri), size/4)
		for _, p := range ranges {
			if k.cost > 0 && (k.full(p, open, most) || k.parts(p, size)) {
				if err := flush(); err != nil {
					return nil, err
				}
			}
			k.add(p, open)
		}
	}
	return splits, flush()
}

// A pack is a split under construction.
type pack struct {
	pieces []piece
	cost   int64
	bytes  int64
	lies   lie
}

// What a pack costs at least, as parts of a split's size, before it ends because what
// follows lies on other hosts: another block of a file, another file.
const (
	leastOfBlocks = 8
	leastOfFiles  = 2
)

// full says whether a range would be too much for a pack.
func (k *pack) full(p placed, open int64, most limits) bool {
	return k.cost+k.more(p, open) > most.cost || k.bytes+p.Bytes > most.bytes || len(k.pieces) >= splitFilesMax && !k.follows(p)
}

// parts says whether a pack ends because no host would have all of it and a range too.
func (k *pack) parts(p placed, size int64) bool {
	least := size / leastOfFiles
	if k.pieces[len(k.pieces)-1].URI == p.URI {
		least = size / leastOfBlocks
	}
	return k.cost >= least && k.lies.known() && p.lies.known() && !k.lies.together(k.bytes, p)
}

// more is what a range would add to the cost of a pack: no file is opened for one that
// goes on where the last one ends.
func (k *pack) more(p placed, open int64) int64 {
	if k.follows(p) {
		return p.Bytes
	}
	return p.Bytes + open
}

func (k *pack) follows(p placed) bool {
	if len(k.pieces) == 0 {
		return false
	}
	last := k.pieces[len(k.pieces)-1]
	return p.lies.known() && last.URI == p.URI && last.Offset+last.Bytes == p.Offset
}

func (k *pack) add(p placed, open int64) {
	k.cost += k.more(p, open)
	k.bytes += p.Bytes
	k.lies.add(p.lies)
	if k.follows(p) {
		k.pieces[len(k.pieces)-1].Bytes += p.Bytes
		return
	}
	k.pieces = append(k.pieces, p.piece)
}

func (k *pack) split(n int, schema json.RawMessage) (dataflow.Split, error) {
	raw, err := json.Marshal(payload{Pieces: k.pieces, Schema: schema})
	if err != nil {
		return dataflow.Split{}, err
	}
	p := k.pieces[0]
	id := fmt.Sprintf("%05d:%s@%d+%d", n, p.URI, p.Offset, p.Bytes)
	if more := len(k.pieces) - 1; more > 0 {
		id += fmt.Sprintf(" and %d more", more)
	}
	return dataflow.Split{ID: id, Bytes: k.bytes, Hosts: k.lies.near(k.bytes), Payload: raw}, nil
}
