package faultproxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rules are what a proxy does to the connections through it. The zero value passes
// everything on. "Up" is from the client to the target, "down" the way back. Chances
// are per piece of data that was read, at most pieceBytes large.
type Rules struct {
	Delay  time.Duration // of each way; order is kept
	Jitter time.Duration // a random part of it is added to the delay
	Rate   int64         // bytes a second, of each way of each connection; 0: no limit
	Reset  float64       // chance, 0 to 1, that a piece ends its connection by a reset
	Flip   float64       // chance, 0 to 1, that one bit of a piece is turned over
	// A dropped direction is a black hole: what is sent is swallowed, ends of streams
	// included, and the connection stays. When the hole has closed, a connection that
	// has lost something is reset by the next piece: no network passes on the rest of a
	// stream without what came before.
	DropUp, DropDown bool
	Pause            bool // nothing moves, nothing is lost
	Refuse           bool // new connections are reset at once
}

// Parse reads rules from text: names with values, separated by commas, such as
// "delay=20ms,jitter=5ms,rate=1000000,reset=0.01,flip=0.001,drop-up,drop-down,pause,refuse".
func Parse(text string) (Rules, error) {
	var r Rules
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, given := strings.Cut(part, "=")
		var err error
		switch name {
		case "delay":
			r.Delay, err = time.ParseDuration(value)
		case "jitter":
			r.Jitter, err = time.ParseDuration(value)
		case "rate":
			r.Rate, err = strconv.ParseInt(value, 10, 64)
		case "reset":
			r.Reset, err = strconv.ParseFloat(value, 64)
		case "flip":
			r.Flip, err = strconv.ParseFloat(value, 64)
		case "drop-up":
			r.DropUp, err = flag(value, given)
		case "drop-down":
			r.DropDown, err = flag(value, given)
		case "pause":
			r.Pause, err = flag(value, given)
		case "refuse":
			r.Refuse, err = flag(value, given)
		default:
			return Rules{}, fmt.Errorf("no fault is called %q: there are delay, jitter, rate, reset, flip, drop-up, drop-down, pause and refuse", name)
		}
		if err != nil {
			return Rules{}, fmt.Errorf("fault %q: %w", part, err)
		}
	}
	return r, r.check()
}

func flag(value string, given bool) (bool, error) {
	if !given {
		return true, nil
	}
	return strconv.ParseBool(value)
}

func (r Rules) check() error {
	switch {
	case r.Delay < 0 || r.Jitter < 0 || r.Rate < 0:
		return fmt.Errorf("delay, jitter and rate are not negative")
	case !(r.Reset >= 0 && r.Reset <= 1 && r.Flip >= 0 && r.Flip <= 1):
		return fmt.Errorf("the chances reset and flip lie between 0 and 1")
	}
	return nil
}

// String is the text that Parse reads; "" for none.
func (r Rules) String() string {
	var parts []string
	add := func(on bool, text string) {
		if on {
			parts = append(parts, text)
		}
	}
	add(r.Delay > 0, "delay="+r.Delay.String())
	add(r.Jitter > 0, "jitter="+r.Jitter.String())
	add(r.Rate > 0, "rate="+strconv.FormatInt(r.Rate, 10))
	add(r.Reset > 0, "reset="+strconv.FormatFloat(r.Reset, 'g', -1, 64))
	add(r.Flip > 0, "flip="+strconv.FormatFloat(r.Flip, 'g', -1, 64))
	add(r.DropUp, "drop-up")
	add(r.DropDown, "drop-down")
	add(r.Pause, "pause")
	add(r.Refuse, "refuse")
	return strings.Join(parts, ",")
}
