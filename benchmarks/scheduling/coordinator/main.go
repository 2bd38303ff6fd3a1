// Command coordinator is a coordinator for the benchmark: the real one, with its journal
// on disk, which says where it listens on standard output and ends when standard input
// does.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"

	"github.com/divisi-data/divisi/coordinator"
)

func main() {
	state := flag.String("state", "", "folder of the journal")
	profiles := flag.String("profiles", "", "folder for a profile of the CPU and one of the memory; empty: none")
	flag.Parse()
	if err := run(*state, *profiles); err != nil {
		fmt.Fprintln(os.Stderr, "coordinator:", err)
		os.Exit(1)
	}
}

func run(state, profiles string) (err error) {
	c, err := coordinator.Start(context.Background(), coordinator.Config{Listen: "127.0.0.1:0", State: state})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}()
	if profiles != "" {
		f, err := os.Create(filepath.Join(profiles, "cpu.pprof"))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		defer heap(filepath.Join(profiles, "heap.pprof"))
	}
	fmt.Println(c.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// heap writes what is alive; a failure is told and changes nothing.
func heap(name string) {
	f, err := os.Create(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer f.Close()
	runtime.GC()
	if err := pprof.WriteHeapProfile(f); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
