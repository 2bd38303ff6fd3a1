package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
)

// checkFailed is the exit code of every program of the project when data is wrong.
const checkFailed = 7

// isCheck finds "validate DIR" or "checksum DIR" at the end of the arguments. What
// stands before are the engine's flags.
func isCheck(args []string) (flags []string, command, dir string, ok bool) {
	if len(args) < 2 {
		return nil, "", "", false
	}
	flags, command, dir = args[:len(args)-2], args[len(args)-2], args[len(args)-1]
	ok = (command == "validate" || command == "checksum") && !slices.Contains(flags, "gen") && !slices.Contains(flags, "sort")
	return flags, command, dir, ok
}

// check runs the job "summarize" in this program once more, so that it has all the
// engine's flags and its errors and exit codes, and reads its counters.
func check(flags []string, command, dir string) int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == "--" })
	var out bytes.Buffer
	job := exec.Command(self, append(flags, "-o", "json", "--", "summarize", dir)...)
	job.Stdout, job.Stderr = &out, os.Stderr
	if err := job.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() > 0 {
			return exit.ExitCode()
		}
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	var sum struct{ Counters map[string]int64 }
	if err := json.Unmarshal(out.Bytes(), &sum); err != nil {
		fmt.Fprintf(os.Stderr, "error: the job's summary: %v: %q\n", err, out.String())
		return 1
	}
	fmt.Printf("rows\t%d\nchecksum\t%x\n", sum.Counters[countRows], uint64(sum.Counters[countChecksum]))
	code := 0
	if n := sum.Counters[countBad]; n > 0 {
		fmt.Fprintf(os.Stderr, "error: %s: %d files end inside a record of %d bytes\n", dir, n, recordBytes)
		code = checkFailed
	}
	if n := sum.Counters[countOutOfOrder]; n > 0 && command == "validate" {
		fmt.Fprintf(os.Stderr, "error: %s: %d records have a smaller key than the one before them\n", dir, n)
		code = checkFailed
	}
	return code
}
