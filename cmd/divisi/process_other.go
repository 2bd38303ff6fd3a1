//go:build !unix

package main

import (
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr   { return nil }
func ownSession() *syscall.SysProcAttr { return nil }

// tryLock does nothing: two clusters in one folder are not noticed here.
func tryLock(*os.File) (bool, error) { return true, nil }
