package ops

import (
	"context"
	"io"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// chooseBytes is how much of each side is read to see which one is smaller, where no
// limit of memory says less.
const chooseBytes = 256 << 20

// choose reads both sides, always the one of which less was read, and builds the one
// that ends first. Where neither does before memory is short, it is the right one.
func (s *joinStream) choose(ctx context.Context) error {
	most := int64(chooseBytes)
	if l := s.env.Memory.Limit(); l > 0 {
		most = min(most, l/4)
	}
	var kept [2]*keptStream
	for side := range kept {
		kept[side] = &keptStream{in: s.in[side], mem: held{memory: s.env.Memory}}
		s.in[side] = kept[side]
	}
	for {
		side := right
		if kept[left].mem.n < kept[right].mem.n {
			side = left
		}
		if kept[side].mem.n >= most {
			return nil
		}
		more, err := kept[side].read(ctx)
		if err != nil {
			return err
		}
		if kept[side].ended {
			s.joinRole, err = roleOf(s.Type, side)
			return err
		}
		if !more {
			return nil
		}
	}
}

// A keptStream is a stream of which some batches were read ahead.
type keptStream struct {
	in    dataflow.Stream
	ahead []dataflow.Batch
	sizes []int64
	mem   held
	ended bool
}

// read reads one batch ahead. It says no when there is no memory for more.
func (k *keptStream) read(ctx context.Context) (more bool, err error) {
	b, err := k.in.Next(ctx)
	if err == io.EOF {
		k.ended = true
		return false, nil
	}
	if err != nil {
		return false, err
	}
	size := order.BatchBytes(b)
	fits := k.mem.try(size)
	if !fits {
		size = 0
	}
	k.ahead, k.sizes = append(k.ahead, b), append(k.sizes, size)
	return fits, nil
}

// Next implements dataflow.Stream.
func (k *keptStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if len(k.ahead) > 0 {
		b := k.ahead[0]
		k.mem.release(k.sizes[0])
		k.ahead, k.sizes = k.ahead[1:], k.sizes[1:]
		return b, nil
	}
	if k.ended {
		return nil, io.EOF
	}
	return k.in.Next(ctx)
}

// Close implements dataflow.Stream.
func (k *keptStream) Close() error {
	releaseBatches(k.ahead)
	k.ahead = nil
	k.mem.releaseAll()
	return k.in.Close()
}
