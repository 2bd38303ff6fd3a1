package security

import (
	"context"
	"time"
)

// lookEvery is how often a certificate's end is looked at.
const lookEvery = time.Hour

// before are the times left at which the log is told, longest first.
var before = []time.Duration{14 * 24 * time.Hour, 3 * 24 * time.Hour, 24 * time.Hour, 0}

// Watch warns in the log 14 days, 3 days and 1 day before the certificate ends, and when it
// has, until ctx ends.
func (id *Identity) Watch(ctx context.Context) {
	if id == nil {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var w warnings
	for {
		id.warn(&w)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// warnings are what was said of the certificate that ends then.
type warnings struct {
	end  time.Time
	said int
}

func (id *Identity) warn(w *warnings) {
	m := id.current()
	end := m.cert.Leaf.NotAfter
	if !end.Equal(w.end) {
		*w = warnings{end: end}
	}
	left := end.Sub(id.now())
	due := 0
	for _, b := range before {
		if left <= b {
			due++
		}
	}
	if due <= w.said {
		return
	}
	w.said = due
	if left <= 0 {
		id.log.Error("no new connection is made any more", "err", id.ended(m))
		return
	}
	id.log.Warn("the certificate expires soon: \"divisi security renew\" makes a new one", "dir", id.dir, "subject", m.cert.Leaf.Subject.String(), "at", day(end), "left", left.Round(time.Minute))
}
