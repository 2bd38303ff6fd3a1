package dataflow

import (
	"path"
	"runtime"
	"strconv"
	"strings"
)

const ownPackage = "github.com/divisi-data/divisi/dataflow."

// callerSite is the file:line of the first caller outside this package: the
// author's. Only the last two elements of the path are kept, so that a job built
// on another machine, with or without -trimpath, says the same.
func callerSite() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function != "" && (!strings.HasPrefix(f.Function, ownPackage) || strings.HasSuffix(f.File, "_test.go")) {
			return shortFile(f.File) + ":" + strconv.Itoa(f.Line)
		}
		if !more {
			return "?"
		}
	}
}

func shortFile(file string) string {
	file = strings.ReplaceAll(file, "\\", "/")
	return path.Join(path.Base(path.Dir(file)), path.Base(file))
}
