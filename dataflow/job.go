package dataflow

import (
	"errors"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A Job is a graph being built. A job's author writes a function that takes one
// and calls Read, Map, Write and their like; it is called again in every process
// that works for the job, so it must do the same each time: build the graph from
// its arguments, and nothing else.
//
// What is wrong is kept and reported all together by Graph, each error with the
// author's file and line; until then every call returns something to go on with.
type Job struct {
	name    string
	args    []string
	flags   *flag.FlagSet
	taken   []bool // arguments that belong to flags
	rest    []string
	split   bool // flags were read: rest is what remains
	missing bool // an argument was, which was reported

	graph *Graph
	errs  []error
	files []ShippedFile

	caches map[*rel]*Node // of tables
}

// A ShippedFile travels with the job; a task finds it by Task.File(Name).
type ShippedFile struct {
	Name string // what tasks ask for
	Path string // on the machine that submits
	Site string // the author's file:line
}

// NewJob begins a job. The arguments are the job's own, without the program's name
// and the engine's flags. Authors need not call it: the front door does.
func NewJob(name string, args []string) *Job {
	j := &Job{name: name, args: slices.Clone(args), taken: make([]bool, len(args)), graph: &Graph{Name: name}}
	j.flags = flag.NewFlagSet(name, flag.ContinueOnError)
	return j
}

// Name is the job's name.
func (j *Job) Name() string { return j.name }

// Graph is what was built, or all that is wrong with it.
func (j *Job) Graph() (*Graph, error) {
	j.parse()
	if len(j.errs) == 0 && !slices.ContainsFunc(j.graph.Nodes, func(n *Node) bool { return n.Kind == SinkNode }) {
		j.errs = append(j.errs, errors.New("the job writes nothing: end it with df.Write"))
	}
	if len(j.errs) > 0 {
		return nil, &Error{Op: "job " + j.name, Kind: User, Err: errors.Join(j.errs...)}
	}
	return j.graph, nil
}

// Errorf reports that the job cannot be built, with the author's file and line.
// Building goes on, so that all that is wrong is seen at once.
func (j *Job) Errorf(format string, a ...any) {
	j.errs = append(j.errs, fmt.Errorf(callerSite()+": "+format, a...))
}

// File ships a file from the machine that submits to every task, which finds it
// by Task.File(name).
func (j *Job) File(name, path string) {
	if name == "" || strings.ContainsAny(name, `/\`) {
		j.Errorf("File %q: a shipped file's name has no folder in it", name)
	}
	if slices.ContainsFunc(j.files, func(f ShippedFile) bool { return f.Name == name }) {
		j.Errorf("File %q is shipped twice", name)
	}
	j.files = append(j.files, ShippedFile{Name: name, Path: path, Site: callerSite()})
}

// Files is what File was called with.
func (j *Job) Files() []ShippedFile { return slices.Clone(j.files) }

// add puts a node into the graph. A node without a name of its own is called what
// the author's call is called.
func (j *Job) add(n *Node) *Node {
	n.ID = len(j.graph.Nodes)
	if n.Site == "" {
		n.Site = callerSite()
	}
	j.graph.Nodes = append(j.graph.Nodes, n)
	return n
}

// codecFor maps a type, or reports at the author's line why it does not map.
// Every other use of the type says the same, so it is said once a line.
func codecFor[T any](j *Job) *codec[T] {
	c, err := codecOf[T]()
	if err != nil {
		j.report(err)
	}
	return c
}

func (j *Job) report(err error) {
	text := callerSite() + ": " + err.Error()
	if !slices.ContainsFunc(j.errs, func(e error) bool { return e.Error() == text }) {
		j.errs = append(j.errs, errors.New(text))
	}
}

// keyHash checks that values of K can be keys: comparable by what they hold.
func keyHash[K any](j *Job, call string, c *codec[K]) {
	if c != nil && (c.hash == nil || c.layout.goType.Kind() == reflect.Pointer) {
		j.report(fmt.Errorf("%s: %s cannot be a key: it holds a pointer, slice or map", call, reflect.TypeFor[K]()))
	}
}
