// Plain ranks the nodes of a graph as examples/pagerank does, in arrays of one process:
//
//	plain ITERATIONS EDGES > RANKS
//	plain graph NODES LINKS > EDGES
//
// The second form makes a graph: the targets of its links follow a power law, so that few
// nodes have most of them, and some nodes have none.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plain:", err)
		os.Exit(1)
	}
}

func run(args []string, to io.Writer) error {
	var numbers [2]int
	var err error
	read := func(i int, text string) {
		if n, e := strconv.Atoi(text); e == nil {
			numbers[i] = n
		} else {
			err = e
		}
	}
	out := bufio.NewWriterSize(to, 1<<20)
	switch {
	case len(args) == 3 && args[0] == "graph":
		read(0, args[1])
		if read(1, args[2]); err == nil {
			graph(out, numbers[0], numbers[1])
		}
	case len(args) == 2:
		if read(0, args[0]); err == nil {
			err = rank(out, args[1], numbers[0])
		}
	default:
		err = fmt.Errorf("usage: plain ITERATIONS EDGES | graph NODES LINKS")
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

func graph(out *bufio.Writer, nodes, links int) {
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.2, 10, uint64(nodes-1))
	for range links {
		// Every tenth node has no links.
		from := r.IntN(nodes)
		from -= from % 10 / 9
		to := int(z.Uint64() * 7919 % uint64(nodes))
		out.WriteString("n" + strconv.Itoa(from) + "\tn" + strconv.Itoa(to) + "\n")
	}
}

// rank reads the edges and writes the ranks.
func rank(out *bufio.Writer, edges string, iterations int) error {
	text, err := os.ReadFile(edges)
	if err != nil {
		return err
	}
	ids, names := map[string]int32{}, []string{}
	id := func(name []byte) int32 {
		n, ok := ids[string(name)]
		if !ok {
			n = int32(len(names))
			names = append(names, string(name))
			ids[names[n]] = n
		}
		return n
	}
	var from, to []int32
	for line := range bytes.Lines(text) {
		a, b, ok := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\t'})
		if !ok {
			return fmt.Errorf("%s: no link: %q", edges, line)
		}
		from, to = append(from, id(a)), append(to, id(b))
	}
	degree := make([]float64, len(names))
	for _, v := range from {
		degree[v]++
	}
	n := float64(len(names))
	ranks, next := make([]float64, len(names)), make([]float64, len(names))
	for v := range ranks {
		ranks[v] = 1 / n
	}
	for range iterations {
		dangling := 0.0
		for v, r := range ranks {
			next[v] = 0
			if degree[v] == 0 {
				dangling += r
			} else {
				ranks[v] = r / degree[v]
			}
		}
		for i, v := range from {
			next[to[i]] += ranks[v]
		}
		for v := range next {
			next[v] = 0.15/n + 0.85*(next[v]+dangling/n)
		}
		ranks, next = next, ranks
	}
	for v, r := range ranks {
		out.WriteString(names[v])
		out.WriteByte('\t')
		out.WriteString(strconv.FormatFloat(r, 'g', -1, 64))
		out.WriteByte('\n')
	}
	return nil
}
