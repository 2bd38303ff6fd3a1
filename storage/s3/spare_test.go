package s3

import "testing"

func TestSpareClass(t *testing.T) {
	sizes := map[int]int{}
	for n := spareMin; n < 1<<24; n += 1 + n/1000 {
		class, size := spareClass(n)
		if size < n || size > n+n/4 {
			t.Fatalf("%d bytes stand for %d", size, n)
		}
		if had, ok := sizes[class]; ok && had != size {
			t.Fatalf("memory of %d and of %d bytes is of class %d", had, size, class)
		}
		sizes[class] = size
		if again, same := spareClass(size); again != class || same != size {
			t.Fatalf("%d bytes are of class %d, want %d", size, again, class)
		}
	}
	if class, _ := spareClass(1 << 30); class >= len(spares{}.classes) {
		t.Fatal("a class too many")
	}
}

// TestSpares: what is given back and taken again is as long as was asked for.
func TestSpares(t *testing.T) {
	var s spares
	for _, n := range []int{0, 1, spareMin, spareMin + 1, 100_000, 1 << 20, 1<<20 + 1} {
		for range 3 {
			b := s.take(n)
			if len(b) != n {
				t.Fatalf("%d bytes, want %d", len(b), n)
			}
			s.put(b)
		}
	}
}
