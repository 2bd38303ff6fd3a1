package files_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/mem"
)

// inBlocks keeps files in memory and says that their blocks have two replicas each, on
// two of three hosts and in two racks.
type inBlocks struct {
	*mem.FS
	size int64
}

func (b inBlocks) Blocks(ctx context.Context, name string) ([]storage.Block, error) {
	f, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []storage.Block
	for at := int64(0); at < f.Size(); at += b.size {
		all = append(all, storage.Block{Offset: at, Size: min(b.size, f.Size()-at), Hosts: b.hosts(name, at), Racks: []string{"/r1", "/r2"}})
	}
	return all, nil
}

func (b inBlocks) hosts(name string, at int64) []string {
	r := rand.New(rand.NewPCG(uint64(at/b.size), uint64(len(name)*1000)+uint64(name[len(name)-1])))
	hosts := []string{"n1", "n2", "n3"}
	r.Shuffle(3, func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	return hosts[:2]
}

type rangeOf struct {
	URI      string
	Off, Len int64
}

// piecesOf are the ranges of files that a split reads.
func piecesOf(t *testing.T, s dataflow.Split) []rangeOf {
	t.Helper()
	var p struct{ Pieces []rangeOf }
	check(t, json.Unmarshal(s.Payload, &p))
	return p.Pieces
}

// TestSplitsLieOnTheirHosts: whatever the sizes of blocks, all that a split reads lies on
// the hosts that it names, racks come after hosts, and the splits are in order.
func TestSplitsLieOnTheirHosts(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name        string
		block       int64
		files       []int
		suffix      string
		least, most int     // number of splits
		near        float64 // part of the bytes that lies on the host that a split names first
	}{
		{"blocks larger than splits", 64 * mib, []int{200 * mib, 30 * mib}, "", 13, 16, 1},
		{"blocks of about a split", 18 * mib, []int{200 * mib}, "", 12, 12, 1},
		{"small blocks", mib, []int{90*mib + 1000}, "", 15, 45, 1},
		{"small files", 64 * mib, slices.Repeat([]int{300_000}, 400), "", 25, 60, 0.6},
		{"files that cannot be cut", 64 * mib, []int{100 * mib, 3 * mib}, ".gz", 2, 2, 0.6},
		{"one block", 64 * mib, []int{10}, "", 1, 1, 1},
		{"empty", 64 * mib, []int{0}, "", 0, 0, 1},
	}[race.Tries(0, 0, 2):] {
		t.Run(c.name, func(t *testing.T) {
			fs := inBlocks{mem.New(), c.block}
			use(fs)
			missing := map[string]int64{}
			for i, n := range c.files {
				name := fmt.Sprintf("in/%04d%s", i, c.suffix)
				put(t, fs, name, make([]byte, n))
				missing["faulty:///"+name] = int64(n)
			}
			splits := must(mustSource(t, textOf("faulty:///in")).Splits(t.Context(), dataflow.SplitHint{Slots: 6}))
			if len(splits) < c.least || len(splits) > c.most {
				t.Errorf("%d splits, want %d to %d", len(splits), c.least, c.most)
			}
			var sum, near int64
			covered := map[string][]rangeOf{}
			for _, s := range splits {
				hosts := slices.DeleteFunc(slices.Clone(s.Hosts), func(h string) bool { return strings.HasPrefix(h, "/") })
				if len(hosts) == 0 || !slices.Equal(s.Hosts, append(slices.Clone(hosts), "/r1", "/r2")) {
					t.Errorf("split %s names %q", s.ID, s.Hosts)
				}
				for _, p := range piecesOf(t, s) {
					covered[p.URI] = append(covered[p.URI], p)
					name := strings.TrimPrefix(p.URI, "faulty:///")
					for at := p.Off; at < p.Off+p.Len; at = (at/c.block + 1) * c.block {
						n := min((at/c.block+1)*c.block, p.Off+p.Len) - at
						sum += n
						if slices.Contains(fs.hosts(name, at), hosts[0]) {
							near += n
						}
					}
				}
			}
			if float64(near) < c.near*float64(sum) {
				t.Errorf("%d of %d bytes lie on the host that their split names first", near, sum)
			}
			for uri, size := range missing {
				at := int64(0)
				for _, p := range covered[uri] {
					if p.Off != at {
						t.Errorf("%s: a range begins at %d, want %d", uri, p.Off, at)
					}
					at = p.Off + p.Len
				}
				if at != size {
					t.Errorf("%s: ranges up to %d of %d", uri, at, size)
				}
			}
		})
	}
}

// TestReadsInBlocks: splits that end with blocks read each line once, and in order.
func TestReadsInBlocks(t *testing.T) {
	fs := inBlocks{mem.New(), 1000}
	use(fs)
	var want []string
	for f := range 5 {
		var text strings.Builder
		for i := range 1500 {
			line := fmt.Sprintf("%d-%d %s", f, i, strings.Repeat("x", i%40))
			want = append(want, line)
			text.WriteString(line + "\n")
		}
		put(t, fs, fmt.Sprintf("lines/%d", f), []byte(text.String()))
	}
	src := mustSource(t, textOf("faulty:///lines"))
	var rows []string
	for _, s := range must(src.Splits(t.Context(), dataflow.SplitHint{Slots: 3, MaxBytes: 9000})) {
		rows = append(rows, must(connectortest.ReadSplit(t, src, s))...)
	}
	if len(rows) != len(want) {
		t.Fatalf("%d lines, want %d", len(rows), len(want))
	}
	for i := range rows {
		if !strings.Contains(rows[i], want[i]) {
			t.Fatalf("line %d is %s, want %s", i, rows[i], want[i])
		}
	}
}
