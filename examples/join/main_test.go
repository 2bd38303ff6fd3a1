package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/divisitest"
)

// table is lines "k<key>\t<mark><number>", nine in ten of the key 0.
func table(mark string, rows, hot int) string {
	rnd := rand.New(rand.NewPCG(5, uint64(rows)))
	var b strings.Builder
	for i := range rows {
		key := 0
		if i%10 >= hot {
			key = rnd.IntN(40)
		}
		fmt.Fprintf(&b, "k%d\t%s%d\n", key, mark, i)
	}
	return b.String()
}

func split(text string) (rows [][2]string) {
	for line := range strings.Lines(text) {
		key, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		rows = append(rows, [2]string{key, rest})
	}
	return rows
}

// nestedLoops is every kind of join in the plainest way.
func nestedLoops(left, right, how string) []string {
	out := []string{}
	l, r := split(left), split(right)
	found := make([]bool, len(r))
	for _, a := range l {
		partners := 0
		for i, b := range r {
			if a[0] != b[0] {
				continue
			}
			partners++
			found[i] = true
			if how != "semi" && how != "anti" {
				out = append(out, a[0]+"\t"+a[1]+"\t"+b[1])
			}
		}
		switch {
		case partners > 0 && how == "semi", partners == 0 && how == "anti":
			out = append(out, a[0]+"\t"+a[1])
		case partners == 0 && (how == "left" || how == "full"):
			out = append(out, a[0]+"\t"+a[1]+"\t")
		}
	}
	for i, b := range r {
		if !found[i] && (how == "right" || how == "full") {
			out = append(out, b[0]+"\t\t"+b[1])
		}
	}
	slices.Sort(out)
	return out
}

func TestJoin(t *testing.T) {
	inputs := map[string][2]string{
		"ordinary":    {"a\t1\nb\t2\tmore\nb\t3\nc\n\t5\n", "b\tx\nb\ty\nc\t\nd\tz\tmore\n\tq\n"},
		"empty":       {"", ""},
		"empty right": {"a\t1\n", ""},
		"one each":    {"a\t1", "a\t2"},
		"skewed":      {table("l", 900, 9), table("r", 60, 5)},
		"both skewed": {table("l", 300, 9), table("r", 300, 9)},
	}
	for name, in := range inputs {
		for _, how := range []string{"inner", "left", "right", "full", "semi", "anti"} {
			for _, broadcast := range []bool{false, true} {
				if broadcast && (how == "right" || how == "full") {
					continue // an error, see below
				}
				if broadcast && name != "skewed" {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, broadcast %v", name, how, broadcast), func(t *testing.T) {
					t.Parallel()
					got := divisitest.RunArgs(t, join, func(in []string, out string) []string {
						return append(slices.Clone(in), out, "--type", how, fmt.Sprintf("--broadcast=%v", broadcast))
					}, in[0], in[1])
					if want := nestedLoops(in[0], in[1], how); !slices.Equal(got, want) {
						t.Errorf("got %d lines %.200q, want %d %.200q", len(got), got, len(want), want)
					}
				})
			}
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"argument 3 is missing":                 {"a", "b"},
		`--type "outer": want inner`:            {"a", "b", "out", "--type", "outer"},
		"BroadcastRight would give a right row": {"a", "b", "out", "--type", "full", "--broadcast"},
	} {
		j := df.NewJob("join", args)
		join(j)
		if _, err := j.Graph(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", args, err, want)
		}
	}
}
