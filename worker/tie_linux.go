package worker

import "syscall"

// tied puts a child into a group of its own, and ends it with this process, however
// that ends: also a child that is stopped and would not see its connection close.
func tied() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
