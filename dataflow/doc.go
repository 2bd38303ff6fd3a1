// Package dataflow is the vocabulary of the system: batches and the streams that
// carry them, the operators between streams, the sources and sinks at both ends,
// and the typed graph a job author builds from them.
//
// A newcomer reads dataflow.go (the nouns), then job.go (the graph), then any one
// of the typed operators. An extension author implements Source, Sink or Operator
// and registers it; nothing here knows where bytes lie or who runs what.
package dataflow
