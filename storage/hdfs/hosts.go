package hdfs

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/divisi-data/divisi/storage"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Blocks gives a file's blocks and, as the NameNode calls them, the hosts with a replica
// of each and those hosts' racks ("/rack1").
func (fs *FS) Blocks(ctx context.Context, name string) ([]storage.Block, error) {
	name, err := begin(ctx, "blocks", name)
	if err != nil {
		return nil, err
	}
	blocks, err := fs.locate(ctx, name)
	if err != nil {
		return nil, failed("blocks", name, err)
	}
	return blocks, nil
}

func (fs *FS) locate(ctx context.Context, name string) (blocks []storage.Block, err error) {
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

func blockOf(m protoreflect.Message) storage.Block {
	b := storage.Block{Offset: int64(field(m, "offset").Uint()), Size: int64(field(field(m, "b").Message(), "numBytes").Uint())}
	nodes := field(m, "locs").List()
	for i := range nodes.Len() {
		node := nodes.Get(i).Message()
		b.Hosts = append(b.Hosts, field(field(node, "id").Message(), "hostName").String())
		if rack := field(node, "location").String(); rack != "" && !slices.Contains(b.Racks, rack) {
			b.Racks = append(b.Racks, rack)
		}
	}
	return b
}
