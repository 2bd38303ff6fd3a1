package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/divisitest"
)

func TestGrep(t *testing.T) {
	var skewed strings.Builder
	for i := range 5000 {
		if i%10 == 0 {
			fmt.Fprintf(&skewed, "line %d\n", i)
		} else {
			skewed.WriteString("an error, the same one\n")
		}
	}
	for name, in := range map[string][]string{
		"ordinary": {"an error\nnone\n\nno error here", "Error\nerr\nerror\r\n"},
		"empty":    {""},
		"one line": {"error"},
		"skewed":   {skewed.String()},
		"bytes":    {"\xff error \xfe\n\xff\n"},
	} {
		for _, invert := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, invert %v", name, invert), func(t *testing.T) {
				t.Parallel()
				want := []string{}
				for _, text := range in {
					for line := range strings.Lines(text) {
						line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
						if strings.Contains(line, "error") != invert {
							want = append(want, line)
						}
					}
				}
				slices.Sort(want)
				got := divisitest.RunArgs(t, grep, func(in []string, out string) []string {
					args := slices.Concat([]string{"er+or"}, in, []string{out})
					if invert {
						args = append(args, "--invert")
					}
					return args
				}, in...)
				if !slices.Equal(got, want) {
					t.Errorf("got %d lines %.200q, want %d %.200q", len(got), got, len(want), want)
				}
			})
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"usage: grep":       {"x", "in"},
		"missing closing )": {"(", "in", "out"},
	} {
		j := df.NewJob("grep", args)
		grep(j)
		if _, err := j.Graph(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", args, err, want)
		}
	}
}
