package worker

import "golang.org/x/sys/unix"

// awaitExit returns when a child has ended, and leaves it to be waited for; false
// where that cannot be done.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil
		}
	}
}
