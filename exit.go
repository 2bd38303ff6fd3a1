package divisi

import "sync"

// atExit removes what must not stay behind when a second signal ends the process
// in the middle of everything.
var atExit exits

type exits struct {
	mu sync.Mutex
	fs []func()
}

func (e *exits) add(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fs = append(e.fs, f)
}

func (e *exits) run() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.fs {
		f()
	}
	e.fs = nil
}
