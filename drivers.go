package divisi

// What every job binary can read and write. A driver or format of one's own is one
// more import, in the job's main package.
import (
	_ "github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/arrow"
	_ "github.com/divisi-data/divisi/connectors/files/avro"
	_ "github.com/divisi-data/divisi/connectors/files/csv"
	_ "github.com/divisi-data/divisi/connectors/files/jsonl"
	_ "github.com/divisi-data/divisi/connectors/files/parquet"
	_ "github.com/divisi-data/divisi/connectors/files/sequencefile"
	_ "github.com/divisi-data/divisi/connectors/files/text"
	_ "github.com/divisi-data/divisi/connectors/kafka"
	_ "github.com/divisi-data/divisi/dataflow/ops"
	_ "github.com/divisi-data/divisi/storage/hdfs"
	_ "github.com/divisi-data/divisi/storage/local"
	_ "github.com/divisi-data/divisi/storage/mem"
	_ "github.com/divisi-data/divisi/storage/s3"
)
