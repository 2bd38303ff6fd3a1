package services

import (
	"os/exec"
	"syscall"
)

// tie makes a child end with its parent, even one that is killed.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
