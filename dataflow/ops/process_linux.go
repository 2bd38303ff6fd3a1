package ops

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup starts a program as the leader of a group, to be killed as one, and has the
// kernel kill it should the thread that started it end with the whole process.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when a child has ended, and leaves it to be waited for, so that its
// number stays its own; false where that cannot be done.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

func killGroup(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGKILL) }
