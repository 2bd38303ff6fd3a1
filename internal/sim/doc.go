// Package sim is a whole cluster in one goroutine: the real coordinator (its machines and
// its shell) over a model of everything around it - journal, network, workers, task
// hosts, storage, clients and a saboteur - in virtual time, led by a seed. The same seed
// gives the same history, letter by letter.
//
//	make sim SEEDS=100000    that many schedules, on all cores: a few minutes
//	make sim SEED=18874      one of them, and what happens in it
//	make mutants             defects put into the protocol: each must be found
//
// What is real is coordinator.Core and all below it. What is a model follows the real
// thing closely: workers (session.go, worker.go, host.go after package worker and
// worker/task), the journal (coord.go after coordinator/journal: what is synced stays, of
// what is on its way any beginning may), storage and its sink (store.go after
// connectors/files). Rows are numbers that go through the stages of small plans, so that a
// row that is lost or doubled is seen in the output.
//
// A check (check*.go) watches what happens. It believes the journal and its own eyes,
// never the coordinator, and ends the schedule at the first broken promise.
//
// Not in the model: the bytes of the journal and of blocks (their packages' tests flip
// each of them), how slow an attempt is (every second one is said to be), priorities, memory as a quantity, programs and files that
// are shipped, and a second coordinator that shares the journal: one that was taken for
// dead is found only by workers that have heard of its successor.
package sim
