package files

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// Every day of the calendar's first and last centuries, and of those about now, is what
// package time says, and nothing else is a date.
func TestParseDate(t *testing.T) {
	last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	for day := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC); !day.After(last); day = day.AddDate(0, 0, 1) {
		switch day.Year() {
		case 410:
			day = day.AddDate(1480, 0, 0)
		case 2110:
			day = day.AddDate(7480, 0, 0)
		}
		got, err := parseDate([]byte(day.Format(time.DateOnly)))
		if err != nil || got != arrow.Date32FromTime(day) {
			t.Fatalf("%s: %d, %v, want %d", day.Format(time.DateOnly), got, err, arrow.Date32FromTime(day))
		}
	}
	for _, s := range []string{"", "2024-02-30", "2023-02-29", "2024-00-10", "2024-13-10", "2024-01-00", "2024-01-32", "2024-1-01", "20240-1-01", "+024-01-01", "2024/01/01", "2024-01-01 ", "2024-01-0x", "٢024-01-1"} {
		if got, err := parseDate([]byte(s)); err == nil {
			t.Errorf("%q is taken for day %d", s, got)
		}
	}
	if _, err := parseDate([]byte("x")); fmt.Sprint(err) != `"x" is not a date YYYY-MM-DD that fits` {
		t.Error(err)
	}
}
