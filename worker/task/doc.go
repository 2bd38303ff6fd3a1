// Package task is the inside of a task host: a process (or, without a cluster, a
// goroutine) that is the job's own program. It builds the job's graph, waits for
// tasks, and for each opens the input, drives the stage's operators, seals the output
// and reports. It talks to its worker alone, over one connection that it inherits;
// when that ends, so does the host.
package task
