package files

import (
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// parseDate reads YYYY-MM-DD, as time.Parse does, some times faster.
func parseDate(s []byte) (arrow.Date32, error) {
	if len(s) == len(time.DateOnly) && s[4] == '-' && s[7] == '-' {
		year, ok1 := digits(s[:4])
		month, ok2 := digits(s[5:7])
		day, ok3 := digits(s[8:])
		if ok1 && ok2 && ok3 && month >= 1 && month <= 12 && day >= 1 && day <= 28 {
			return arrow.Date32(daysSince1970(year, month, day)), nil
		}
	}
	t, err := time.Parse(time.DateOnly, text(s)) // the ends of months, and what is wrong
	return arrow.Date32FromTime(t), plain(err, s, "a date YYYY-MM-DD")
}

func digits(s []byte) (n int, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// daysSince1970 counts the days of the Gregorian calendar, in years that begin in March,
// so that the day which some have more is the last.
func daysSince1970(year, month, day int) int {
	const (
		fourCenturies = 400*365 + 97
		epoch         = 719_468 // 1 January 1970, counted from 1 March of the year 0
	)
	if month -= 3; month < 0 {
		month += 12
		year--
	}
	year += 400 // none is negative
	return year*365 + year/4 - year/100 + year/400 + (153*month+2)/5 + day - 1 - fourCenturies - epoch
}
