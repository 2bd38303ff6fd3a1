package hdfs

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/divisi-data/divisi/storage"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// block is where one block of a file has its replicas.
type block struct {
	from, to     int64
	hosts, racks []string
}

// located remembers where the blocks of the last files are, for a moment: splits
// of one file are asked about one after the other.
type located struct {
	mu sync.Mutex
	of map[string]fileBlocks
}

type fileBlocks struct {
	at     time.Time
	blocks []block
}

const (
	locatedFor = 10 * time.Second
	locatedMax = 256
)

func (l *located) get(name string) ([]block, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.of[name]
	return e.blocks, ok && time.Since(e.at) < locatedFor
}

func (l *located) put(name string, blocks []block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil || len(l.of) >= locatedMax {
		l.of = map[string]fileBlocks{}
	}
	l.of[name] = fileBlocks{time.Now(), blocks}
}

func (l *located) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, name)
}

// Hosts gives the hosts that hold replicas of a range, those with the most bytes of
// it first, and after them their racks, as the NameNode's topology calls them
// ("/rack1").
func (fs *FS) Hosts(ctx context.Context, name string, off, n int64) ([]string, error) {
	name, err := begin(ctx, "hosts", name)
	if err != nil {
		return nil, err
	}
	blocks, ok := fs.hosts.get(name)
	if !ok {
		if blocks, err = fs.locate(ctx, name); err != nil {
			return nil, failed("hosts", name, err)
		}
		fs.hosts.put(name, blocks)
	}
	hosts, racks := map[string]int64{}, map[string]int64{}
	for _, b := range blocks {
		bytes := min(b.to, off+n) - max(b.from, off)
		if bytes <= 0 {
			continue
		}
		for _, h := range b.hosts {
			hosts[h] += bytes
		}
		for _, r := range b.racks {
			racks[r] += bytes
		}
	}
	return append(most(hosts), most(racks)...), nil
}

// most are the keys, the largest value first, equal ones by name.
func most(of map[string]int64) []string {
	var all []string
	for k := range of {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b)) })
	return all
}

func (fs *FS) locate(ctx context.Context, name string) (blocks []block, err error) {
	err = fs.do(ctx, func(c *connection) error {
		resp, err := call(c, "getBlockLocations", fields{"src": name, "offset": uint64(0), "length": uint64(math.MaxInt64)})
		if err != nil {
			return err
		}
		if !has(resp, "locations") {
			return fmt.Errorf("%w: no file of this name", storage.ErrNotExist)
		}
		blocks = nil
		list := field(field(resp, "locations").Message(), "blocks").List()
		for i := range list.Len() {
			blocks = append(blocks, blockOf(list.Get(i).Message()))
		}
		return nil
	})
	return blocks, err
}

func blockOf(m protoreflect.Message) block {
	from := int64(field(m, "offset").Uint())
	b := block{from: from, to: from + int64(field(field(m, "b").Message(), "numBytes").Uint())}
	nodes := field(m, "locs").List()
	for i := range nodes.Len() {
		node := nodes.Get(i).Message()
		b.hosts = append(b.hosts, field(field(node, "id").Message(), "hostName").String())
		if rack := field(node, "location").String(); rack != "" && !slices.Contains(b.racks, rack) {
			b.racks = append(b.racks, rack)
		}
	}
	return b
}
