package order

// A Locator says in which of several batches a row lies that is counted through
// all of them, as the rows of Keys are. The zero value is ready.
type Locator struct {
	start []int32 // the first row of each batch
	near  []int32 // the batch of every locateStep'th row
	rows  int32
}

const locateStep = 256

// Add adds a batch of so many rows.
func (l *Locator) Add(rows int) {
	l.start = append(l.start, l.rows)
	l.rows += int32(rows)
	for len(l.near)*locateStep < int(l.rows) {
		l.near = append(l.near, int32(len(l.start)-1))
	}
}

// Rows is the number of rows of all batches.
func (l *Locator) Rows() int { return int(l.rows) }

// Ref is the place of a row.
func (l *Locator) Ref(row int32) Ref {
	b := int(l.near[row/locateStep])
	for b+1 < len(l.start) && l.start[b+1] <= row {
		b++
	}
	return Ref{int32(b), row - l.start[b]}
}

// Refs appends the places of rows to dst.
func (l *Locator) Refs(dst []Ref, rows []int32) []Ref {
	for _, r := range rows {
		dst = append(dst, l.Ref(r))
	}
	return dst
}

// Reset forgets all batches.
func (l *Locator) Reset() { l.start, l.near, l.rows = l.start[:0], l.near[:0], 0 }
