//go:build !unix

package ops

import (
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

func awaitExit(int) bool { return false }

func killGroup(p *os.Process) { p.Kill() }
