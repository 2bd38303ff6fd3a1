package storage

import "context"

type advanceKey struct{}

// Advance says that what runs under ctx gets on. Drivers call it for every answer they
// get within an operation that may need many, such as List and Sweep, and for every try
// of one that they try again, which they give up by themselves when its time is up. It
// does nothing unless somebody listens.
func Advance(ctx context.Context) {
	if f, ok := ctx.Value(advanceKey{}).(func()); ok {
		f()
	}
}

// WithAdvance is a context under which Advance calls f, at any time and from any
// goroutine.
func WithAdvance(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, advanceKey{}, f)
}
