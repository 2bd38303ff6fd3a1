// Package kafka reads topics between two sets of offsets and writes topics in
// transactions. It is the home of the Kafka client.
//
// An address is kafka://host:port[,host:port]/topic?from=earliest&to=latest, see
// parseAddress. Settings of the client, security among them, stand in a properties
// file with Kafka's own names, see properties.
//
// # Reading
//
// The two sets of offsets are resolved once, when the job is planned, so a job
// that is retried reads the same records: of each partition the range from its
// first offset to the one before the last. Records of transactions that were
// aborted, the marks of transactions, and records that compaction removed are gaps
// in a range. A range that the log no longer holds is an error that wraps
// ErrOffsetOutOfRange, or counted, as the policy says.
//
// # Writing
//
// Each attempt writes in a transaction of its own, which it leaves open: the
// receipt names it. The job's publish step commits those of the winners, and asks
// until the broker says that they are complete; after the job all others are
// aborted. What readers with isolation.level=read_committed see:
//
//   - nothing of an attempt that lost, of a job that failed or was cancelled;
//   - of a job that succeeded every row once;
//   - while a job is being published the transactions of its parts become visible
//     one after another: there is no transaction over all of them.
//
// A transaction lives at most as long as its time-out, which the broker bounds
// (transaction.max.timeout.ms, 15 minutes unless changed): from an attempt's first
// row to the job's publish step. If the broker gave one up, publishing fails with
// an error that wraps ErrTransactionExpired, before it has committed any of them if
// that can be known. While transactions are open, read_committed readers of the
// topic wait behind them.
//
// With the option "delivery": "idempotent" rows are written without transactions:
// seen at once, at least once; the headers divisi-job, divisi-part, divisi-attempt
// and divisi-row tell copies apart.
//
// Reading without an end is a different source stream over the same fetcher; it is
// not here.
package kafka
