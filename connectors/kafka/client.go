package kafka

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/dataflow"
)

const (
	// answerWithin is how long a broker may take to answer before it counts as
	// gone: one that is stopped keeps its connections. The properties'
	// request.timeout.ms says otherwise.
	answerWithin = 10 * time.Second
	// patience is how long reading, publishing and cleaning go on without any
	// progress; the properties' default.api.timeout.ms says otherwise.
	patience = time.Minute
)

// cluster is a client and what it was made from.
type cluster struct {
	*kgo.Client
	address
	properties properties
	patience   time.Duration
}

// connect makes a client, which finds out by itself whether the servers are there.
// The caller closes it.
func (a address) connect(op string, more func(p properties) ([]kgo.Opt, error)) (*cluster, error) {
	p, err := readProperties(a.config)
	if err != nil {
		return nil, userError(op, a.path(), err)
	}
	if err := a.complete(p); err != nil {
		return nil, userError(op, a.path(), err)
	}
	secure, err := p.security()
	if err != nil {
		return nil, userError(op, a.path(), err)
	}
	c := &cluster{address: a, properties: p, patience: patience}
	if ms, err := p.int("default.api.timeout.ms", patience.Milliseconds()); err != nil {
		return nil, userError(op, a.path(), err)
	} else {
		c.patience = millis(ms)
	}
	within, err := p.int("request.timeout.ms", answerWithin.Milliseconds())
	if err != nil {
		return nil, userError(op, a.path(), err)
	}
	if c.rack == "" {
		c.rack = p["client.rack"]
	}
	id := p["client.id"]
	if id == "" {
		id = "divisi"
	}
	opts := append(secure,
		kgo.SeedBrokers(a.servers...), kgo.ClientID(id), kgo.SoftwareNameAndVersion("divisi", "1"),
		kgo.DialTimeout(millis(within)), kgo.RequestTimeoutOverhead(max(100*time.Millisecond, millis(within))), kgo.RetryTimeout(c.patience),
		kgo.MetadataMinAge(250*time.Millisecond), kgo.DisableClientMetrics(),
	)
	if more != nil {
		extra, err := more(p)
		if err != nil {
			return nil, userError(op, a.path(), err)
		}
		opts = append(opts, extra...)
	}
	if c.Client, err = kgo.NewClient(opts...); err != nil {
		return nil, userError(op, a.path(), err)
	}
	return c, nil
}

// int is a number of the settings.
func (p properties) int(name string, otherwise int64) (int64, error) {
	s, ok := p[name]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q, want a number", name, s)
	}
	return n, nil
}

// again waits between tries: longer from try to try, and not past the end of ctx.
type again struct {
	begun time.Time
	tries int
	limit time.Duration // since begun
}

func newAgain(limit time.Duration) *again { return &again{begun: time.Now(), limit: limit} }

// reset says that there was progress.
func (a *again) reset() { a.begun, a.tries = time.Now(), 0 }

// wait returns false, at once, when the time is up.
func (a *again) wait(ctx context.Context) bool {
	if time.Since(a.begun) > a.limit {
		return false
	}
	dataflow.Advance(ctx) // waiting in vain ends by itself
	pause := min(20*time.Millisecond<<min(a.tries, 5), 500*time.Millisecond)
	a.tries++
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
