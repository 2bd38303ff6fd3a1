package expr

import (
	"fmt"
	"math"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// civil is the date of a day counted from 1970-01-01: proleptic Gregorian, any year
// of an int32 day.
func civil(day int64) (year, month, mday int64) {
	z := day + 719468 // from 0000-03-01
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	mday = doy - (153*mp+2)/5 + 1
	month = mp + 3
	year = yoe + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, mday
}

// dayOf is the inverse of civil; the month may be any.
func dayOf(year, month, mday int64) int64 {
	year += floorDiv(month-1, 12)
	month = month - 1 - floorDiv(month-1, 12)*12 + 1
	if month <= 2 {
		year--
	}
	era := floorDiv(year, 400)
	yoe := year - era*400
	mp := (month + 9) % 12
	doy := (153*mp+2)/5 + mday - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return era*146097 + doe - 719468
}

func floorDiv(x, y int64) int64 {
	q := x / y
	if x%y < 0 {
		q--
	}
	return q
}

// zoneOf is a timestamp type's zone; without one it is UTC.
func zoneOf(t *arrow.TimestampType) (*time.Location, error) {
	if t.TimeZone == "" {
		return time.UTC, nil
	}
	return t.GetZone()
}

func inZone(v int64, t *arrow.TimestampType) time.Time {
	at := arrow.Timestamp(v).ToTime(t.Unit)
	if zone, err := zoneOf(t); err == nil {
		at = at.In(zone)
	}
	return at
}

// A clock takes a timestamp apart: the day and the seconds in it, as the clocks of
// its zone show them.
type clock struct {
	perSecond int64
	zone      *time.Location // nil: UTC
}

func clockOf(t *arrow.TimestampType) (clock, error) {
	c := clock{perSecond: int64(time.Second / t.Unit.Multiplier())}
	zone, err := zoneOf(t)
	if err == nil && zone != time.UTC && zone.String() != "UTC" {
		c.zone = zone
	}
	return c, err
}

// local is the seconds since 1970 that the zone's clocks show.
func (c clock) local(v int64) int64 {
	s := floorDiv(v, c.perSecond)
	if c.zone != nil {
		_, offset := time.Unix(s, 0).In(c.zone).Zone()
		s += int64(offset)
	}
	return s
}

// instant is the time at which the zone's clocks show so many seconds.
func (c clock) instant(local int64) int64 {
	if c.zone != nil {
		d := floorDiv(local, 86400)
		y, m, day := civil(d)
		local = time.Date(int(y), time.Month(m), int(day), 0, 0, int(local-d*86400), 0, c.zone).Unix()
	}
	return local * c.perSecond
}

var dayParts = map[string]func(day int64) int64{
	"year":    func(d int64) int64 { y, _, _ := civil(d); return y },
	"month":   func(d int64) int64 { _, m, _ := civil(d); return m },
	"day":     func(d int64) int64 { _, _, m := civil(d); return m },
	"quarter": func(d int64) int64 { _, m, _ := civil(d); return (m + 2) / 3 },
	"weekday": func(d int64) int64 { return d + 3 - floorDiv(d+3, 7)*7 + 1 },
}

var clockParts = map[string]func(second int64) int64{
	"hour":   func(s int64) int64 { return s / 3600 },
	"minute": func(s int64) int64 { return s / 60 % 60 },
	"second": func(s int64) int64 { return s % 60 },
}

func datePart(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	if err := wantAll(args, "a date or timestamp", isTime); err != nil {
		return nil, err
	}
	day, second := dayParts[n.op], clockParts[n.op]
	ts, stamp := args[0].typ.(*arrow.TimestampType)
	if second != nil && !stamp && args[0].typ.ID() != arrow.NULL {
		return nil, fmt.Errorf("a date has no %s", n.op)
	}
	var c clock
	if stamp {
		var err error
		if c, err = clockOf(ts); err != nil {
			return nil, err
		}
	}
	return b.strictX(n.op, "", int64Type, 6, false, args, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kI64, valid: a[0].valid, i64: f.i64.get(f.n)}
		m := a[0].step()
		for i := range v.i64 {
			if !stamp {
				v.i64[i] = day(int64(a[0].i32[i&m]))
				continue
			}
			s := c.local(a[0].i64[i&m])
			d := floorDiv(s, 86400)
			if day != nil {
				v.i64[i] = day(d)
			} else {
				v.i64[i] = second(s - d*86400)
			}
		}
		return v, nil
	}), nil
}

// dayUnits and secondUnits find the beginning of a unit.
var dayUnits = map[string]func(day int64) int64{
	"year":    func(d int64) int64 { y, _, _ := civil(d); return dayOf(y, 1, 1) },
	"quarter": func(d int64) int64 { y, m, _ := civil(d); return dayOf(y, (m-1)/3*3+1, 1) },
	"month":   func(d int64) int64 { y, m, _ := civil(d); return dayOf(y, m, 1) },
	"week":    func(d int64) int64 { return floorDiv(d+3, 7)*7 - 3 },
	"day":     func(d int64) int64 { return d },
}

var secondUnits = map[string]int64{"hour": 3600, "minute": 60, "second": 1}

func truncate(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if err := wantAll(args[:1], "a date or timestamp", isTime); err != nil {
		return nil, err
	}
	if args[1].lit == nil || args[1].lit.kind != kText || args[1].lit.allNull() {
		return nil, fmt.Errorf("the unit must be a constant word")
	}
	unit := string(args[1].lit.text(0))
	day, seconds := dayUnits[unit], secondUnits[unit]
	if day == nil && seconds == 0 {
		return nil, fmt.Errorf("there is no unit %q (have year, quarter, month, week, day, hour, minute, second)", unit)
	}
	return b.calendar("truncate", unit, args[:1], func(local int64, _ int64) (int64, bool) {
		d := floorDiv(local, 86400)
		if day != nil {
			return day(d) * 86400, true
		}
		return floorDiv(local, seconds) * seconds, true
	})
}

// calendar adds a node that moves a date or timestamp on the clock of its zone.
// The last argument, if there are two, is an int64 that move is given.
func (b *binder) calendar(op, extra string, args []*bnode, move func(local, n int64) (int64, bool)) (*bnode, error) {
	t := args[0].typ
	ts, stamp := t.(*arrow.TimestampType)
	var c clock
	if stamp {
		var err error
		if c, err = clockOf(ts); err != nil {
			return nil, err
		}
	}
	return b.strictX(op, extra, t, 8, true, args, func(f *frame, a []*vec) (*vec, error) {
		out := newColumn(f, t)
		out.v.valid = a[0].valid
		if a[0].konst {
			out.v.valid = nil
		}
		m, by, mb := a[0].step(), []int64{0}, 0
		if len(a) > 1 {
			by, mb = a[1].i64, a[1].step()
			out.v.valid = f.bothValid(a[0], a[1])
		}
		for i := range f.n {
			n := by[i&mb]
			if out.v.valid != nil && out.v.valid[i] == 0 {
				out.put(i, literal{})
				continue
			}
			if !stamp {
				d, ok := move(int64(a[0].i32[i&m])*86400, n)
				if d = floorDiv(d, 86400); !ok || d < math.MinInt32 || d > math.MaxInt32 {
					return nil, failure(i, "the date leaves the calendar")
				}
				out.v.i32[i] = int32(d)
				continue
			}
			v := a[0].i64[i&m]
			local := c.local(v)
			fraction := v - floorDiv(v, c.perSecond)*c.perSecond
			moved, ok := move(local, n)
			if most := math.MaxInt64/c.perSecond - 1; !ok || moved > most || moved < -most {
				return nil, failure(i, "the timestamp leaves the calendar")
			}
			if op == "truncate" {
				fraction = 0
			}
			out.v.i64[i] = c.instant(moved) + fraction
		}
		return out.v, nil
	}), nil
}

// addCalendar is addmonths and adddays.
func addCalendar(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if err := wantAll(args[:1], "a date or timestamp", isTime); err != nil {
		return nil, err
	}
	if err := wantAll(args[1:], "an integer", isInt); err != nil {
		return nil, err
	}
	const most = 1 << 32
	months := n.op == "addmonths"
	return b.calendar(n.op, "", []*bnode{args[0], b.toInt64(args[1])}, func(local, n int64) (int64, bool) {
		if n > most || n < -most {
			return 0, false
		}
		if !months {
			return local + n*86400, true
		}
		d := floorDiv(local, 86400)
		y, m, day := civil(d)
		last := dayOf(y, m+n+1, 1) - dayOf(y, m+n, 1)
		return dayOf(y, m+n, min(day, last))*86400 + local - d*86400, true
	})
}

// timeCaster converts between dates and timestamps. A date is the midnight at which
// it begins, in the timestamp's zone; finer units are cut off.
func timeCaster(from, to arrow.DataType, refuse func(any) error) func(literal) (literal, error) {
	ft, fromStamp := from.(*arrow.TimestampType)
	tt, toStamp := to.(*arrow.TimestampType)
	return func(l literal) (literal, error) {
		if !toStamp {
			c, err := clockOf(ft)
			return literal{i: floorDiv(c.local(l.i), 86400)}, err
		}
		if !fromStamp {
			c, err := clockOf(tt)
			if err != nil {
				return l, err
			}
			if s := l.i * 86400; s > math.MaxInt64/c.perSecond-86400 || s < -math.MaxInt64/c.perSecond+86400 {
				return l, refuse(arrow.Date32(l.i).FormattedString())
			}
			return literal{i: c.instant(l.i * 86400)}, nil
		}
		x, y := int64(ft.Unit.Multiplier()), int64(tt.Unit.Multiplier())
		if x >= y {
			r := l.i * (x / y)
			if r/(x/y) != l.i {
				return l, refuse(l.i)
			}
			return literal{i: r}, nil
		}
		return literal{i: floorDiv(l.i, y/x)}, nil
	}
}
