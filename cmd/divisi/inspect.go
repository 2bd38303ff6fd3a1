package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

func inspectCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "inspect", Short: "Print files of the system for people", Args: cobra.ArbitraryArgs}
	cmd.AddCommand(
		&cobra.Command{
			Use: "shuffle FILE", Short: "A task's output: its partitions and frames, checked", Args: between(1, 1),
			RunE: func(_ *cobra.Command, args []string) error { return shuffle.Inspect(a.out, args[0]) },
		},
		&cobra.Command{
			Use: "journal FOLDER|FILE", Short: "A coordinator's journal (STATE/journal) or a file of it: its records, checked", Args: between(1, 1),
			RunE: func(_ *cobra.Command, args []string) error { return inspectJournal(a, args[0]) },
		},
		&cobra.Command{
			Use: "manifest FILE", Short: "What a job decided to publish (OUTPUT/_manifest-JOB) or whose turn it is (OUTPUT/_manifest), checked", Args: between(1, 1),
			RunE: func(_ *cobra.Command, args []string) error {
				b, err := os.ReadFile(args[0])
				if err != nil {
					return err
				}
				return files.InspectManifest(a.out, args[0], b)
			},
		},
		&cobra.Command{
			Use: "plan FILE", Short: "A serialised plan, as explain --format json prints it", Args: between(1, 1),
			RunE: func(_ *cobra.Command, args []string) error { return inspectPlan(a, args[0]) },
		},
	)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
	return cmd
}

func inspectPlan(a *app, name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	p, err := plan.Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return printPlan(a.out, p, "text")
}

// inspectJournal prints a line a record. The environments of jobs are left out:
// they may hold what is not to be shown.
func inspectJournal(a *app, path string) error {
	w := bufio.NewWriter(a.out)
	n := 0
	cut, err := journal.Inspect(path, func(r journal.Record) error {
		n++
		rec := proto.Clone(r.JournalRecord).(*pb.JournalRecord)
		at := time.Unix(0, rec.UnixNanos).UTC().Format(time.RFC3339Nano)
		for _, req := range []*pb.SubmitRequest{rec.GetSubmitted().GetRequest(), rec.GetJobArchived().GetRequest()} {
			if job := req.GetJob(); job != nil {
				for k := range job.Env {
					job.Env[k] = "[not shown]"
				}
				job.Plan = nil
			}
		}
		job := rec.Job
		rec.UnixNanos, rec.Job = 0, ""
		text := strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(rec)), " ")
		_, err := fmt.Fprintf(w, "%d  epoch %d  %s  %s  %s\n", r.Sequence, r.Epoch, at, job, console.Plain(text))
		return err
	})
	if err != nil {
		w.Flush()
		return err
	}
	fmt.Fprintf(w, "%s records, all checksums right\n", console.Count(int64(n)))
	if cut != nil {
		fmt.Fprintf(w, "%s ends with %s bytes of a write that was cut short, at offset %d: %s. It was never acknowledged; the next start removes it.\n",
			cut.File, console.Count(cut.Bytes), cut.Offset, cut.Why)
	}
	return w.Flush()
}
