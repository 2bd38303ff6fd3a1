// Command plain counts words the way a Go programmer would without a framework:
// one goroutine, a Scanner, strings.Fields and a map. It is the benchmark's peer and
// its oracle.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

func main() {
	counts := map[string]int64{}
	for _, name := range os.Args[1:] {
		f, err := os.Open(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(make([]byte, 1<<20), 64<<20)
		for lines.Scan() {
			for _, w := range strings.Fields(lines.Text()) {
				counts[w]++
			}
		}
		if err := lines.Err(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		f.Close()
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for w, n := range counts {
		fmt.Fprintf(out, "%s\t%d\n", w, n)
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
