package ops

import (
	"errors"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// spillTo begins a run, or says that there is nowhere to spill to.
func spillTo(env *dataflow.Env, name string, schema *arrow.Schema) (dataflow.SpillWriter, error) {
	if env.Spill == nil {
		return nil, &dataflow.Error{Op: "ops." + name, Kind: dataflow.OutOfMemory, Err: dataflow.ErrOutOfMemory,
			Try: "set a place to spill to: this environment has none"}
	}
	return env.Spill.Create(env, name, schema)
}

// runBytes is the size of the batches that are spilled: smaller than others where
// memory is short, because several are held at once when runs are read.
func runBytes(env *dataflow.Env) int {
	_, size := order.BatchLimits(env)
	if l := env.Memory.Limit(); l > 0 {
		size = min(size, max(int(l/32), 256))
	}
	return size
}

// rowsPerBatch is how many rows of an average size make a batch.
func rowsPerBatch(env *dataflow.Env, size int, rows, bytes int64) int {
	n, _ := order.BatchLimits(env)
	if bytes > 0 {
		n = min(n, int(int64(size)*rows/bytes))
	}
	return max(n, 1)
}

func removeRuns(runs []dataflow.SpillRun) error {
	var errs []error
	for _, r := range runs {
		errs = append(errs, r.Remove())
	}
	return errors.Join(errs...)
}
