package console

// Suggest is the name nearest to what was written, or "" where none is near.
func Suggest(got string, names []string) string {
	best, least := "", len(got)/3+1
	for _, n := range names {
		if d := distance(got, n); d <= least && (d < least || best == "") {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace, or swap with a
// neighbour to turn a into b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
