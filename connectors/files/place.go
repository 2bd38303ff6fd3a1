package files

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/storage"
)

// placed is a range of a file that one task reads, and where its bytes lie.
type placed struct {
	piece
	lies lie
}

// A lie says how many bytes lie on which hosts and in which racks.
type lie struct{ hosts, racks map[string]int64 }

// nearMax is how many hosts, and how many racks, a split names.
const nearMax = 3

// place cuts a file into ranges of about a size, none of more than one block where the
// storage has blocks. A file that cannot be cut is one range.
func place(ctx context.Context, f foundFile, r Reader, size int64) ([]placed, error) {
	can, err := cuttable(ctx, f, r, size)
	if err != nil {
		return nil, err
	}
	blocks, err := storage.Blocks(ctx, f.fs, f.name)
	if err != nil {
		return nil, storageError("files.Splits", f.uri, err)
	}
	// A file may have grown since it was found, or shrunk: what is read of it is what was
	// found, or reading it fails.
	blocks = slices.DeleteFunc(slices.Clone(blocks), func(b storage.Block) bool { return b.Offset >= f.size || b.Size <= 0 })
	whole := placed{piece: f.whole()}
	if !can {
		for _, b := range blocks {
			whole.lies.add(onHosts(b.Size, b))
		}
		return []placed{whole}, nil
	}
	if len(blocks) == 0 {
		return whole.cut(size), nil
	}
	var all []placed
	for i, b := range blocks {
		end := f.size
		if i+1 < len(blocks) {
			end = blocks[i+1].Offset
		}
		p := placed{piece: piece{URI: f.uri, Offset: b.Offset, Bytes: end - b.Offset, Size: f.size, ETag: f.etag}}
		n := (p.Bytes + size + size/4 - 1) / (size + size/4)
		for _, q := range p.cut((p.Bytes + n - 1) / n) {
			q.lies = onHosts(q.Bytes, b)
			all = append(all, q)
		}
	}
	return all, nil
}

// cut makes ranges of about a size.
func (p placed) cut(size int64) []placed {
	// A rest of a tenth is not worth a task of its own.
	n := max(1, (p.Bytes-size/10+size-1)/size)
	parts := make([]placed, n)
	for i := range parts {
		q := p
		q.Offset, q.Bytes = p.Offset+int64(i)*size, size
		parts[i] = q
	}
	last := &parts[n-1]
	last.Bytes = p.Offset + p.Bytes - last.Offset
	return parts
}

// cuttable reports whether a file may be cut into ranges. Of a compressed one that is
// long enough the last bytes may be read.
func cuttable(ctx context.Context, f foundFile, r Reader, size int64) (bool, error) {
	c := CodecOf(f.name)
	if c == Plain && aligns(r) {
		return true, nil
	}
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

func aligns(r Reader) bool {
	a, ok := r.(Aligner)
	return ok && a.Aligns()
}

// align moves the ends of a file's ranges to where records begin, for a format that has
// to look for that. A range in which none begins is left out.
func (s *source) align(ctx context.Context, f foundFile, ranges []placed) ([]placed, error) {
	if len(ranges) == 1 || !aligns(s.reader) {
		return ranges, nil
	}
	in, err := s.openPiece(ctx, f.whole(), nil)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	at := make([]int64, len(ranges))
	for i, p := range ranges {
		at[i] = p.Offset
	}
	begins, err := s.reader.(Aligner).Align(ctx, in, at[1:])
	if err != nil {
		return nil, err
	}
	begins = append(append([]int64{0}, begins...), f.size)
	var all []placed
	for i, p := range ranges {
		p.Offset, p.Bytes = begins[i], begins[i+1]-begins[i]
		if p.Bytes > 0 {
			all = append(all, p)
		}
	}
	return all, nil
}

func onHosts(bytes int64, b storage.Block) lie {
	l := lie{map[string]int64{}, map[string]int64{}}
	for _, h := range b.Hosts {
		l.hosts[h] = bytes
	}
	for _, r := range b.Racks {
		l.racks[r] = bytes
	}
	return l
}

func (l lie) known() bool { return len(l.hosts) > 0 }

func (l *lie) add(more lie) {
	for _, m := range []struct {
		to   *map[string]int64
		from map[string]int64
	}{{&l.hosts, more.hosts}, {&l.racks, more.racks}} {
		if *m.to == nil {
			*m.to = map[string]int64{}
		}
		for k, n := range m.from {
			(*m.to)[k] += n
		}
	}
}

// together says whether some host has all of what lies so far, of so many bytes, and all
// of a range.
func (l lie) together(bytes int64, p placed) bool {
	for h, n := range l.hosts {
		if n == bytes && p.lies.hosts[h] == p.Bytes {
			return true
		}
	}
	return false
}

// near are the hosts that have nearly as much of the bytes as any, then the racks, each
// the most first. A place with little of them is no reason to wait for it, nor is a host
// that would read much over the network where another would not.
func (l lie) near(bytes int64) []string {
	var all []string
	for _, at := range []map[string]int64{l.hosts, l.racks} {
		places := slices.SortedFunc(maps.Keys(at), func(a, b string) int {
			return cmp.Or(cmp.Compare(at[b], at[a]), cmp.Compare(a, b))
		})
		if len(places) == 0 {
			continue
		}
		most := at[places[0]]
		places = slices.DeleteFunc(places, func(p string) bool { return at[p]*2 < bytes || at[p]*20 < most*19 })
		all = append(all, places[:min(len(places), nearMax)]...)
	}
	return all
}
