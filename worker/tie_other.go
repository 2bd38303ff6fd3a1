//go:build !linux

package worker

import "syscall"

// tied puts a child into a group of its own. It ends when it sees that its connection
// is closed.
func tied() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
