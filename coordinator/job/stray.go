package job

// A stray is an attempt that was taken back and may still run: its worker has not said
// yet how it ended. Who runs on may still write, so outputs are cleaned only when there
// are no strays, or the hosts that ran them are gone. Strays are not journalled: in a life
// after the first the hosts are always asked to end first.

// takeBack tells a worker to end an attempt that is not needed any more.
func (j *Job) takeBack(a Attempt, w Worker, why string) {
	j.strays[a] = w
	j.do(CancelAttempt{a, w, why})
}

// accounted notes that a worker has said how an attempt ended.
func (j *Job) accounted(a Attempt, w Worker) {
	if j.strays[a] == w {
		delete(j.strays, a)
	}
}

// strayedTo forgets the strays of a worker that is no more.
func (j *Job) strayedTo(w Worker) {
	for a, on := range j.strays { // the order does not matter: all of the worker's go
		if on == w {
			delete(j.strays, a)
		}
	}
}
