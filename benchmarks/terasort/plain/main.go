// Command plain is what the TeraSort benchmark needs beside a sort:
//
//	plain lines FILE...     records of 100 bytes as lines of 100 bytes, to the output
//	plain move IN TMP OUT   reads and writes all bytes twice, the second time durably
//	plain checksum FILE     how many lines there are and the sum of their CRC-32
//	plain validate FILE     the same, and fails unless the lines are in order
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

const (
	keyBytes  = 10
	lineBytes = 100
	moveBytes = 4 << 20 // at once
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "lines":
		out := bufio.NewWriterSize(os.Stdout, 1<<20)
		for _, name := range args[1:] {
			if err := each(name, func(r []byte) error {
				printable(r)
				_, err := out.Write(r)
				return err
			}); err != nil {
				return err
			}
		}
		return out.Flush()
	case len(args) == 4 && args[0] == "move":
		if err := move(args[1], args[2], false); err != nil {
			return err
		}
		return errors.Join(move(args[2], args[3], true), os.Remove(args[2]))
	case len(args) == 2 && (args[0] == "checksum" || args[0] == "validate"):
		return sum(args[1], args[0] == "validate")
	}
	return errors.New("usage: plain lines FILE... | move IN TMP OUT | checksum FILE | validate FILE")
}

// each passes the records of a file to f, which may change them.
func each(name string, f func(record []byte) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	record := make([]byte, lineBytes)
	for {
		if _, err := io.ReadFull(in, record); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := f(record); err != nil {
			return err
		}
	}
}

// printable makes a line of a record: all bytes that can be shown stay, and there is no
// line feed but at the end.
func printable(r []byte) {
	for i, c := range r {
		if c < ' ' || c > '~' {
			r[i] = ' ' + c%95
		}
	}
	r[lineBytes-1] = '\n'
}

// move copies a file.
func move(from, to string, durable bool) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	// Only Read and Write: else the copy would be the kernel's, and of no bytes at all
	// where files can share them.
	buf := make([]byte, moveBytes)
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, buf); err != nil {
		return err
	}
	if durable {
		if err := out.Sync(); err != nil {
			return err
		}
	}
	return out.Close()
}

func sum(name string, ordered bool) error {
	var rows int64
	var total uint64
	last := make([]byte, keyBytes)
	err := each(name, func(r []byte) error {
		if r[lineBytes-1] != '\n' {
			return fmt.Errorf("%s: line %d is not of %d bytes", name, rows+1, lineBytes)
		}
		if ordered && bytes.Compare(r[:keyBytes], last) < 0 {
			return fmt.Errorf("%s: line %d has a smaller key than the one before it", name, rows+1)
		}
		copy(last, r)
		rows++
		total += uint64(crc32.ChecksumIEEE(r))
		return nil
	})
	if err == nil {
		_, err = fmt.Printf("rows\t%d\nchecksum\t%x\n", rows, total)
	}
	return err
}
