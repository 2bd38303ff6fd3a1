package files

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

const (
	targetMin = 16 << 20
	targetMax = 128 << 20
	// openNear and openFar are what opening a file costs, in bytes that could have been
	// read meanwhile: on this machine, and over a network.
	openNear = 128 << 10
	openFar  = 4 << 20
	// hostsMax is how many hosts a split names.
	hostsMax = 3
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
	}
	return openFar
}

// cut makes splits: large files in ranges, small ones packed in order of name.
func cut(ctx context.Context, found []foundFile, r Reader, schema json.RawMessage, hint dataflow.SplitHint) ([]dataflow.Split, error) {
	size := target(found, hint)
	var splits []dataflow.Split
	var pack packed
	flush := func() error {
		if len(pack.pieces) == 0 {
			return nil
		}
		s, err := pack.split(ctx, len(splits), schema)
		splits = append(splits, s)
		pack = packed{}
		return err
	}
	for _, f := range found {
		if f.size == 0 {
			continue
		}
		open := min(openCost(f.uri), size/4)
		ranges := int64(1)
		can, err := cuttable(ctx, f, r, size)
		if err != nil {
			return nil, err
		}
		if can {
			// A rest of a tenth is not worth a task of its own.
			ranges = max(1, (f.size-size/10+size-1)/size)
		}
		for i := range ranges {
			p := piece{URI: f.uri, Offset: i * size, Bytes: size, Size: f.size}
			if i == ranges-1 {
				p.Bytes = f.size - p.Offset
			}
			if pack.cost > 0 && pack.cost+p.Bytes+open > size {
				if err := flush(); err != nil {
					return nil, err
				}
			}
			pack.add(f, p, p.Bytes+open)
		}
	}
	return splits, flush()
}

// cuttable reports whether a file may be cut into ranges. Of a compressed one that is
// long enough the last bytes may be read.
func cuttable(ctx context.Context, f foundFile, r Reader, size int64) (bool, error) {
	c := CodecOf(f.name)
	if c == Plain || !r.Splittable() {
		return r.Splittable(), nil
	}
	if l, ok := r.(LineReader); !ok || !l.ByLine() || !codec.Cuttable(c) || f.size <= size {
		return false, nil
	}
	file, err := f.fs.Open(ctx, f.name)
	if err != nil {
		return false, storageError("files.Splits", f.uri, err)
	}
	defer file.Close()
	ok, err := codec.Cuts(c, file, f.size)
	if err != nil {
		err = storageError("files.Splits", f.uri, err)
	}
	return ok, err
}

// packed is a split under construction.
type packed struct {
	files  []foundFile
	pieces []piece
	cost   int64
	bytes  int64
}

func (k *packed) add(f foundFile, p piece, cost int64) {
	k.files, k.pieces = append(k.files, f), append(k.pieces, p)
	k.cost += cost
	k.bytes += p.Bytes
}

func (k *packed) split(ctx context.Context, n int, schema json.RawMessage) (dataflow.Split, error) {
	raw, err := json.Marshal(payload{Pieces: k.pieces, Schema: schema})
	if err != nil {
		return dataflow.Split{}, err
	}
	hosts, err := k.hosts(ctx)
	if err != nil {
		return dataflow.Split{}, err
	}
	p := k.pieces[0]
	id := fmt.Sprintf("%05d:%s@%d+%d", n, p.URI, p.Offset, p.Bytes)
	if more := len(k.pieces) - 1; more > 0 {
		id += fmt.Sprintf(" and %d more", more)
	}
	return dataflow.Split{ID: id, Bytes: k.bytes, Hosts: hosts, Payload: raw}, nil
}

// hosts are those near which most of the bytes lie, most first.
func (k *packed) hosts(ctx context.Context) ([]string, error) {
	near := map[string]int64{}
	for i, p := range k.pieces {
		if _, ok := storage.As[storage.BlockLocator](k.files[i].fs); !ok {
			continue
		}
		hosts, err := storage.Hosts(ctx, k.files[i].fs, k.files[i].name, p.Offset, p.Bytes)
		if err != nil {
			return nil, storageError("files.Splits", p.URI, err)
		}
		for _, h := range hosts {
			near[h] += p.Bytes
		}
	}
	hosts := slices.SortedFunc(maps.Keys(near), func(a, b string) int {
		return cmp.Or(cmp.Compare(near[b], near[a]), cmp.Compare(a, b))
	})
	// A host with little of the split is no reason to wait for it.
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return near[h]*2 < k.bytes })
	return hosts[:min(len(hosts), hostsMax)], nil
}
