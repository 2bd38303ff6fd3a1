//go:build unix && !linux

package ops

import (
	"os"
	"syscall"
)

// ownGroup starts a program as the leader of a group, to be killed as one.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func awaitExit(int) bool { return false }

func killGroup(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGKILL) }
