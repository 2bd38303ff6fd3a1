package journal

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// Standby waits until the journal in dir can be had: takeOver is false when nobody has
// it, true when its holder has been silent for so long. Durations are measured by this
// process's own clock, and a time in which this process did not run does not count.
func Standby(ctx context.Context, dir string, silence time.Duration) (takeOver bool, err error) {
	var last Holder
	changed := time.Now()
	tick := time.NewTicker(beatEvery / 4)
	defer tick.Stop()
	for {
		now := time.Now() // before the look: a pause after it must not make the look old
		free, h, err := look(dir)
		if err != nil || free {
			return false, err
		}
		if h != last {
			last, changed = h, now
		} else if now.Sub(changed) > silence {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
	}
}

// look says whether nobody has the folder, and who has it.
func look(dir string) (free bool, h Holder, err error) {
	d, err := openFolder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, h, nil
	}
	if err != nil {
		return false, h, err
	}
	defer d.close()
	f, err := d.root.Open(lockName)
	if errors.Is(err, fs.ErrNotExist) {
		return true, h, nil
	}
	if err != nil {
		return false, h, err
	}
	defer f.Close()
	free, err = tryLock(f)
	return free, readHolder(d), err
}
