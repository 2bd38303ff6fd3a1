package files

import (
	"context"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// advancing makes each answer of the storage a sign that the control task gets on.
func advancing(ctx context.Context) context.Context {
	return storage.WithAdvance(ctx, func() { dataflow.Advance(ctx) })
}
