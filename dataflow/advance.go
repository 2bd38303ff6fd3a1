package dataflow

import "context"

type advanceKey struct{}

// Advance says that what runs under ctx gets on. Splits, Prepare, Publish and Clean, and
// a Writer that does much with one batch, call it after each thing done (a file looked at,
// a part published, a leftover removed, one file of many written), in any goroutine: one of which nothing is heard for as long as the coordinator bears,
// five minutes if it was not told otherwise, is taken for hung, is cancelled and run
// again. Elsewhere it does nothing.
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
