package dataflow

import "unsafe"

// stringFinal gives a final aggregation the pairs of a batch from its columns: the
// slots of many keys are fetched at once, and then the values merged in the order of
// the rows, as final.add does it.
type stringFinal[K comparable, A any] struct {
	*final[K, A]
	t       *stringTable[K, A]
	touched uint64 // so that touching is not thought to be for nothing
	keys    [finalAhead]shortKey
	hashes  [finalAhead]uint64
}

// finalAhead is how many keys are looked for at once.
const finalAhead = 256

// A batchTaker takes the batches that the chain reads, instead of their rows.
type batchTaker interface{ batch(b Batch) }

// byBatch is f as a batchTaker; nil where keys are no strings or values not of a size
// that lies in a column as in Go.
func byBatch[K comparable, A any](f *final[K, A]) batchTaker {
	t, ok := f.t.(*stringTable[K, A])
	if !ok || fixedColumnOf[A](f.in.fields[1].column(&columns{})) == nil || f.kept.keeper != nil {
		return nil
	}
	return &stringFinal[K, A]{final: f, t: t}
}

func (f *stringFinal[K, A]) batch(b Batch) {
	ends, data := stringValues(b.Column(0))
	values := fixedValues[A](b.Column(1))
	f.r.at = f.at
	for from := 0; from < len(values); from += finalAhead {
		n := min(finalAhead, len(values)-from)
		for i := range n {
			s := data[ends[from+i]:ends[from+i+1]]
			f.keys[i], _ = shortOf(s)
			f.hashes[i] = f.keys[i].hash()
		}
		f.touched += f.t.touch(f.hashes[:n])
		for i := range n {
			f.r.row = from + i
			v := values[from+i]
			if !f.keys[i].none() {
				if a, fresh := f.t.atShort(&f.keys[i], f.hashes[i]); a != nil {
					if fresh {
						*a = v
					} else {
						*a = f.merge(*a, v)
					}
					continue
				}
			}
			s := data[ends[from+i]:ends[from+i+1]]
			f.add(Pair[K, A]{*(*K)(unsafe.Pointer(&s)), v})
		}
	}
}
