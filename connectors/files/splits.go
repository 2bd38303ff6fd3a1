package files

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

const (
	targetMin = 16 << 20
	targetMax = 128 << 20
	// What opening a file costs, in bytes that could have been read meanwhile: on this
	// machine, in a cluster near by, and over a network.
	openNear    = 128 << 10
	openCluster = 1 << 20
	openFar     = 4 << 20
)

// target is how many bytes a split should have.
func target(files []foundFile, hint dataflow.SplitHint) int64 {
	var total int64
	for _, f := range files {
		total += f.size + openCost(f.uri)
	}
	t := total / int64(max(1, hint.Slots)*4)
	t = max(targetMin, min(targetMax, roundUp(t, 1<<20)))
	if hint.MaxBytes > 0 {
		t = min(t, hint.MaxBytes)
	}
	return t
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

// cut makes splits: large files in ranges, small ones packed in order of name. Where the
// storage says where bytes lie, a range is of one block and what is packed together lies
// on one host, so that a task there reads nothing over the network.
func (s *source) cut(ctx context.Context, found []foundFile, schema json.RawMessage, hint dataflow.SplitHint) ([]dataflow.Split, error) {
	size := target(found, hint)
	var full []*pack
	open := map[string]*pack{} // by host, "": not known where
	load := map[string]int64{} // bytes by host
	for order, f := range found {
		if f.size == 0 {
			continue
		}
		ranges, err := place(ctx, f, s.reader, size)
		if err == nil {
			ranges, err = s.align(ctx, f, ranges)
		}
		if err != nil {
			return nil, err
		}
		cost := min(openCost(f.uri), size/4)
		host := ""
		for _, p := range ranges {
			host = p.home(load, host, size)
			load[host] += p.Bytes
			k := open[host]
			if k != nil && k.cost+k.more(p, cost) > size {
				full = append(full, k)
				k = nil
			}
			if k == nil {
				k = &pack{order: order, host: host}
				open[host] = k
			}
			k.add(p, cost)
		}
	}
	for _, k := range open {
		full = append(full, k)
	}
	slices.SortFunc(full, func(a, b *pack) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.pieces[0].Offset, b.pieces[0].Offset))
	})
	splits := make([]dataflow.Split, len(full))
	for i, k := range full {
		var err error
		if splits[i], err = k.split(i, schema); err != nil {
			return nil, err
		}
	}
	return splits, nil
}

// A pack is a split under construction.
type pack struct {
	order  int // of its first file
	host   string
	pieces []piece
	cost   int64
	bytes  int64
	lies   lie
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
