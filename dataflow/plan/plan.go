// Package plan is the narrow waist: every front end makes a Plan, the scheduler
// takes it. Compile cuts a job's graph at its exchanges into stages, fuses what
// lies between, and keeps beside the plan (plain data, which travels) the program
// (operators, which do not: each task host compiles its own from the same binary
// and compares fingerprints).
package plan

import "github.com/divisi-data/divisi/dataflow"

// Version of the serialised plan. A reader refuses a newer one by name.
const Version = 1

// A Plan is what the coordinator knows of a job: stages and what flows between
// them. It holds no code and no secrets, and is kept in the journal as JSON.
// IDs are positions in their slices.
type Plan struct {
	Version     int        `json:"version"`
	Job         string     `json:"job"`         // the job's name
	Fingerprint string     `json:"fingerprint"` // of the graph and all options that change it
	Options     Options    `json:"options"`     // frozen at submit
	Stages      []Stage    `json:"stages"`      // producers before consumers
	Exchanges   []Exchange `json:"exchanges"`
	Sources     []Source   `json:"sources"`
	Sinks       []Sink     `json:"sinks"`
}

// Options are what a job's plan depends on besides its graph.
type Options struct {
	Partitions int           `json:"partitions,omitempty"` // of every shuffle the job does not fix itself; 0: the planner's choice
	Slots      int           `json:"slots,omitempty"`      // of the cluster at submit, to choose by
	Mode       dataflow.Mode `json:"mode,omitempty"`       // "": fail
	Check      bool          `json:"check,omitempty"`      // assert in tasks what the plan promises
}

// A Stage runs without a shuffle, once per split or per range of partitions.
type Stage struct {
	ID     int     `json:"id"`
	Name   string  `json:"name"` // "FlatMap+Count"
	Inputs []Input `json:"inputs"`
	Chain  []Step  `json:"chain"`         // for people: what runs inside, in order
	Ops    []Op    `json:"ops,omitempty"` // what is counted by itself, inputs before what reads them; the last one gives the stage's rows
	Output Output  `json:"output"`
	// MaxTasks limits a sampling stage to so many of its possible tasks, evenly
	// chosen; 0 means all.
	MaxTasks int `json:"max_tasks,omitempty"`
	// TargetBytes is how much a task should read at least, where the number of tasks is
	// not fixed: what it writes should be about so long. 0: any number.
	TargetBytes int64 `json:"target_bytes,omitempty"`
}

// InputMode says how a stage's tasks share an input.
type InputMode string

const (
	BySplit     InputMode = "split"     // a task per split of a source
	ByPartition InputMode = "partition" // a task per range of partitions of an exchange
	ByForward   InputMode = "forward"   // a task per task of the producers, reading its output
	Whole       InputMode = "whole"     // every task reads everything
)

// An Input is one thing a stage reads. All ByPartition inputs of a stage have the
// same number of partitions; a stage has either one BySplit input, or one
// ByForward input, or ByPartition inputs, or only Whole ones (then it is one
// task), and any number of Whole ones beside.
type Input struct {
	Mode     InputMode `json:"mode"`
	Source   int       `json:"source"`   // of BySplit, else -1
	Exchange int       `json:"exchange"` // of the others, else -1
	Node     int       `json:"node"`     // the graph's node that reads it, for Env.Side and the program
	// Shared, of a ByPartition input: the rows of one of its partitions may be shared out to
	// several tasks, which read all of the partition's rows of every other input. Of the
	// inputs of a stage it is set for one at most.
	Shared bool `json:"shared,omitempty"`
}

// Output is where a stage's rows go: exactly one of the two is not -1.
type Output struct {
	Exchange int `json:"exchange"`
	Sink     int `json:"sink"`
	// PartBase is added to the task's index to number the parts of a sink that
	// several stages write.
	PartBase int `json:"part_base,omitempty"`
	// Sample is the exchange (a Whole input of this stage) that holds the sample
	// from which a Range partitioning is made, else -1.
	Sample int `json:"sample"`
}

// An Exchange is data between stages.
type Exchange struct {
	ID int `json:"id"`
	dataflow.Exchange
	// Partitions (of the embedded Exchange) is always set here, but for Forward.
	// Fixed: the author chose it; neighbouring partitions are not joined.
	Fixed     bool  `json:"fixed,omitempty"`
	Producers []int `json:"producers"` // stages
	Consumers []int `json:"consumers"`
}

// A Source is what stages read from outside; its splits are enumerated once a job.
type Source struct {
	ID   int    `json:"id"`
	Node int    `json:"node"`
	Kind string `json:"kind"`
	Name string `json:"name"` // for people, without secrets
}

// A Sink is what stages write to outside.
type Sink struct {
	ID   int           `json:"id"`
	Node int           `json:"node"`
	Kind string        `json:"kind"`
	Name string        `json:"name"`
	Mode dataflow.Mode `json:"mode"`
}

// A Step is one operator of a stage, for people.
type Step struct {
	Node   int    `json:"node"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Site   string `json:"site,omitempty"`
	Schema string `json:"schema,omitempty"`
}

// An Op is what runs inside a stage as one piece: a reader of one of its inputs, or an
// operator, which may have absorbed those before it. Its ID is its position in
// Stage.Ops, and what it did in a task is the OpStats of that number.
type Op struct {
	ID    int    `json:"id"`
	Name  string `json:"name"` // of several that were fused: "FlatMap+Count"
	Kind  string `json:"kind"`
	Site  string `json:"site,omitempty"`
	In    []int  `json:"in,omitempty"` // what it reads, of Stage.Ops
	Input int    `json:"input"`        // of a reader: position in Stage.Inputs, else -1
	// Estimate is how many rows were expected to come out, 0 where nobody guessed.
	Estimate float64 `json:"estimate,omitempty"`
}
