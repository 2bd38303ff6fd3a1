package dataflow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// An OperatorKind makes operators of a kind from arguments (JSON, the kind's own).
type OperatorKind struct {
	Kind    string
	Summary string // one line for explain and the docs
	Build   func(args []byte) (Operator, error)
}

// A SourceKind makes sources. The words are shown by --help and the docs.
type SourceKind struct {
	Kind    string
	Summary string
	Build   func(args []byte) (Source, error)
}

// A SinkKind makes sinks.
type SinkKind struct {
	Kind    string
	Summary string
	Build   func(args []byte) (Sink, error)
}

var (
	operatorKinds = kinds[OperatorKind]{what: "operator"}
	sourceKinds   = kinds[SourceKind]{what: "source"}
	sinkKinds     = kinds[SinkKind]{what: "sink"}
)

// Register makes a kind of operator known. Called from init; a second of a kind panics.
func Register(k OperatorKind) { operatorKinds.add(k.Kind, k) }

// RegisterSource makes a kind of source known.
func RegisterSource(k SourceKind) { sourceKinds.add(k.Kind, k) }

// RegisterSink makes a kind of sink known.
func RegisterSink(k SinkKind) { sinkKinds.add(k.Kind, k) }

// NewOperator builds an operator of a registered kind.
func NewOperator(kind string, args []byte) (Operator, error) {
	k, err := operatorKinds.get(kind)
	if err != nil {
		return nil, err
	}
	return k.Build(args)
}

// NewSource builds a source of a registered kind.
func NewSource(kind string, args []byte) (Source, error) {
	k, err := sourceKinds.get(kind)
	if err != nil {
		return nil, err
	}
	return k.Build(args)
}

// NewSink builds a sink of a registered kind.
func NewSink(kind string, args []byte) (Sink, error) {
	k, err := sinkKinds.get(kind)
	if err != nil {
		return nil, err
	}
	return k.Build(args)
}

type kinds[K any] struct {
	what string
	mu   sync.RWMutex
	m    map[string]K
}

func (r *kinds[K]) add(name string, k K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.m[name]; twice {
		panic("dataflow: two kinds of " + r.what + " are called " + name)
	}
	if r.m == nil {
		r.m = map[string]K{}
	}
	r.m[name] = k
}

func (r *kinds[K]) get(name string) (K, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.m[name]
	if !ok {
		var have []string
		for n := range r.m {
			have = append(have, n)
		}
		slices.SortFunc(have, cmp.Compare[string])
		return k, fmt.Errorf("no %s of kind %q is linked in (have %s)", r.what, name, strings.Join(have, ", "))
	}
	return k, nil
}
