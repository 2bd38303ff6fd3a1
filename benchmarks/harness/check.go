package harness

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Lines is the sorted lines of the named files (globs), the form in which outputs
// whose order is free are compared.
func Lines(patterns ...string) ([][]byte, error) {
	var lines [][]byte
	for _, p := range patterns {
		names, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("no file matches %s", p)
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				return nil, err
			}
			lines = append(lines, bytes.SplitAfter(b, []byte{'\n'})...)
		}
	}
	lines = slices.DeleteFunc(lines, func(l []byte) bool { return len(l) == 0 })
	slices.SortFunc(lines, bytes.Compare)
	return lines, nil
}

// Digest is a hash of the sorted lines.
func Digest(patterns ...string) (string, error) {
	lines, err := Lines(patterns...)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, l := range lines {
		h.Write(l)
	}
	return fmt.Sprintf("%d lines, %s", len(lines), hex.EncodeToString(h.Sum(nil)[:8])), nil
}

// SameLines fails unless the files hold the lines of which want is the Digest.
func SameLines(want string, patterns ...string) error {
	got, err := Digest(patterns...)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the output is wrong: %s, want %s", got, want)
	}
	return nil
}
