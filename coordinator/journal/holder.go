package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// A Holder is the process that has a journal, as it says of itself.
type Holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Address string    `json:"address,omitempty"` // where it is reached; "" while it starts
	Since   time.Time `json:"since"`
	// Beat changes twice a second while the process runs.
	Beat uint64 `json:"beat"`
}

func (h Holder) String() string {
	if h.PID == 0 {
		return "a process that has not said who it is"
	}
	at := "starting"
	if h.Address != "" {
		at = "at " + h.Address
	}
	return fmt.Sprintf("process %d on host %s, %s, since %s", h.PID, h.Host, at, h.Since.Format(time.RFC3339))
}

// Locked says who has the folder; it is an ErrLocked.
type Locked struct {
	Dir    string
	Holder Holder
}

func (e *Locked) Error() string {
	return fmt.Sprintf("%v: %s belongs to %s (stop that one, give this one another state folder, or take it over with --take-over)", ErrLocked, e.Dir, e.Holder)
}

// Unwrap is ErrLocked.
func (e *Locked) Unwrap() error { return ErrLocked }

// Fenced says who has taken the folder over; it is an ErrFenced.
type Fenced struct {
	Dir    string
	Epoch  uint64 // of the coordinator that was fenced off
	Holder Holder // the one that has the folder now
}

func (e *Fenced) Error() string {
	return fmt.Sprintf("%v: %s was taken over from this coordinator, of epoch %d, by %s; nothing that it has not acknowledged before was written", ErrFenced, e.Dir, e.Epoch, e.Holder)
}

// Unwrap is ErrFenced.
func (e *Fenced) Unwrap() error { return ErrFenced }

// parseHolder is what a lock file says; nobody when it is being written, or there is none.
func parseHolder(b []byte, err error) (h Holder) {
	if err != nil || json.Unmarshal(b, &h) != nil {
		return Holder{}
	}
	return h
}

func readHolder(d *folder) Holder { return parseHolder(d.root.ReadFile(lockName)) }

// readGate is the last one that has begun to start on dir.
func readGate(dir string) Holder { return parseHolder(os.ReadFile(dir + gateSuffix)) }

// ReadHolder is who has the journal in a folder, or is taking it over; nobody in
// particular when it does not say.
func ReadHolder(dir string) Holder {
	d, err := openFolder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return readGate(dir)
	}
	if err != nil {
		return Holder{}
	}
	defer d.close()
	return readHolder(d)
}

// write says in the lock file who holds it. It is for people and for standbys, and not
// made durable.
func (h Holder) write(f *os.File) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(b)))
}

// beat tells that this process runs, and looks whether the folder is still its own, until
// the journal is closed.
func (j *Journal) beat() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-tick.C:
		}
		j.tell(func(h *Holder) { h.Beat++ })
		if err := j.fenced(); err != nil {
			j.poke() // the writer finds out for itself
		}
	}
}

// SetAddress says where the holder is reached.
func (j *Journal) SetAddress(addr string) { j.tell(func(h *Holder) { h.Address = addr }) }

// tell changes what the lock file says. If it cannot be written, a standby may take over
// without need, which is safe.
func (j *Journal) tell(change func(*Holder)) {
	j.telling.Lock()
	defer j.telling.Unlock()
	change(&j.holder)
	_ = j.holder.write(j.lock)
}

// fenced is an error when the folder's name does not mean this folder any more. A write
// is acknowledged only if this was nil after it was durable: who takes a journal over
// gives the folder another name first and reads it then, so that it has read all that
// was acknowledged.
func (j *Journal) fenced() error {
	now, err := os.Stat(j.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	own, oerr := j.d.root.Stat(".")
	if oerr != nil {
		return oerr
	}
	if err != nil || !os.SameFile(now, own) {
		return &Fenced{j.dir, j.epoch, ReadHolder(j.dir)}
	}
	return nil
}
