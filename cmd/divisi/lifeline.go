package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"
)

// A tether binds a process of a local cluster to its supervisor: it ends when the
// supervisor does, and tells it when it is ready. Without the flags it does nothing.
type tether struct{ lifeline, ready int }

func (t *tether) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&t.lifeline, "lifeline", -1, "file descriptor of a pipe: end when it closes")
	cmd.Flags().IntVar(&t.ready, "ready", -1, "file descriptor to write a line to when ready")
	cmd.Flags().MarkHidden("lifeline")
	cmd.Flags().MarkHidden("ready")
}

// hold returns a context that ends when the supervisor has gone. The goroutine
// ends with the process: it waits for nothing else.
func (t *tether) hold(ctx context.Context) context.Context {
	for _, fd := range []int{t.lifeline, t.ready} {
		if fd >= 0 {
			syscall.CloseOnExec(fd) // task hosts must not keep it
		}
	}
	if t.lifeline < 0 {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	f := os.NewFile(uintptr(t.lifeline), "lifeline")
	go func() {
		f.Read(make([]byte, 1))
		fmt.Fprintln(os.Stderr, "the supervisor is gone: ending")
		cancel()
	}()
	return ctx
}

// tell writes the line that says that the process is ready.
func (t *tether) tell(l readyLine) error {
	if t.ready < 0 {
		return nil
	}
	f := os.NewFile(uintptr(t.ready), "ready")
	defer f.Close()
	return json.NewEncoder(f).Encode(l)
}
