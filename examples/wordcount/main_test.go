package main

import (
	"slices"
	"testing"

	"github.com/divisi-data/divisi/divisitest"
)

func TestWordcount(t *testing.T) {
	got := divisitest.Run(t, wordcount, "to be or not\u2003to be\r\n", "", "be\xff \\ \"q\"\t\\t")
	want := []string{"\"q\"\t1", "\\\t1", "\\t\t1", "be\t2", "be\xff\t1", "not\t1", "or\t1", "to\t2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
