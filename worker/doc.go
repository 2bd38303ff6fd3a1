// Package worker is the daemon on every node: it registers with the coordinator, keeps
// slots, starts task hosts (the jobs' own programs, as child processes), keeps the
// blocks and logs they leave and serves them. It runs no user code, so a job that
// crashes or runs out of memory costs a task and never a node's outputs.
package worker
