package files

import (
	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// What tasks fail with and clients test for.
func init() {
	dataflow.RegisterError("input-changed", ErrInputChanged)
	dataflow.RegisterError("compressed-checksum", codec.ErrChecksum)
	dataflow.RegisterError("no-match", storage.ErrNoMatch)
	dataflow.RegisterError("no-driver", storage.ErrNoDriver)
	dataflow.RegisterError("storage-failure", storage.ErrTransient)
	dataflow.RegisterError("storage-unreachable", storage.ErrUnreachable)
	dataflow.RegisterError("sealed-object-gone", storage.ErrGone)
}
