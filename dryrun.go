package divisi

import (
	"context"
	"fmt"
	"io"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/console"
)

// dryRun looks up a job's inputs and counts their splits. Nothing is executed, and
// nothing is asked of the outputs, since asking reserves them.
func dryRun(ctx context.Context, w io.Writer, p *plan.Program, slots int) error {
	for _, s := range p.Plan.Sources {
		splits, err := p.Source(s.ID).Splits(ctx, dataflow.SplitHint{Slots: slots})
		if err != nil {
			return err
		}
		var bytes int64
		for _, sp := range splits {
			bytes += sp.Bytes
		}
		fmt.Fprintf(w, "source %d: %s: %d splits, %s\n", s.ID, s.Name, len(splits), console.Bytes(bytes))
	}
	for _, s := range p.Plan.Sinks {
		fmt.Fprintf(w, "sink %d: %s, mode %s\n", s.ID, s.Name, s.Mode)
	}
	_, err := fmt.Fprintf(w, "%d stages, for %d slots; nothing was executed\n", len(p.Plan.Stages), slots)
	return err
}
