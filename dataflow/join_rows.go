package dataflow

import (
	"fmt"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
)

// joinFeeder reads what the hash join makes: the columns of the left pair and then
// those of the right. Which side is missing is said by its key, which is null.
type joinFeeder[K, A, B any] struct {
	left  *codec[Pair[K, A]]
	right *codec[Pair[K, B]]
}

func (f *joinFeeder[K, A, B]) accepts(in []*arrow.Schema) error {
	if err := sameColumns(in, 1); err != nil {
		return err
	}
	if err := f.left.acceptsFrom(in[0], 0); err != nil {
		return err
	}
	return f.right.acceptsFrom(in[0], 2)
}

func (f *joinFeeder[K, A, B]) feed(r *run, emit func(*joinedRow[K, A, B])) func() {
	r.show = func(b Batch, row int) string {
		return fmt.Sprintf("left %s, right %s", f.left.describeFrom(b, row, 0), f.right.describeFrom(b, row, 2))
	}
	var b Batch
	r.atEnd(func() {
		if b != nil {
			b.Release()
		}
	})
	return func() {
		for b = r.next(0); b != nil; b = r.next(0) {
			r.batch = b
			f.each(r, b, emit)
			r.batch = nil
			b.Release()
			b = nil
		}
	}
}

func (f *joinFeeder[K, A, B]) each(r *run, b Batch, emit func(*joinedRow[K, A, B])) {
	leftKey, rightKey := b.Column(0), b.Column(2)
	inner := leftKey.NullN() == 0 && rightKey.NullN() == 0
	getLeftKey, getLeft := f.left.fields[0].get(leftKey), f.left.fields[1].get(b.Column(1))
	getRightKey, getRight := f.right.fields[0].get(rightKey), f.right.fields[1].get(b.Column(3))
	row := new(joinedRow[K, A, B])
	for i := range int(b.NumRows()) {
		r.row = i
		row.hasLeft = inner || leftKey.IsValid(i)
		row.hasRight = inner || rightKey.IsValid(i)
		if row.hasLeft {
			getLeftKey(i, unsafe.Pointer(&row.key))
			getLeft(i, unsafe.Pointer(&row.left))
		}
		if row.hasRight {
			if !row.hasLeft {
				getRightKey(i, unsafe.Pointer(&row.key))
			}
			getRight(i, unsafe.Pointer(&row.right))
		}
		emit(row)
	}
}
