package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// placementDoc says why the tasks of a job that are done ran where they did.
type placementDoc struct {
	versioned
	Job    string         `json:"job"`
	Tasks  []placedDoc    `json:"tasks"`
	Levels map[string]int `json:"levels"` // number of tasks by how near they were to their input
}

type placedDoc struct {
	Stage   int32   `json:"stage"`
	Index   int32   `json:"index"`
	Attempt int32   `json:"attempt"`
	Worker  string  `json:"worker"`
	Level   string  `json:"level"`
	Waited  float64 `json:"waited_seconds"`
	Copy    bool    `json:"copy"`
	Why     string  `json:"why"`
}

func placementCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "placement JOB", Short: "Say why each task ran where it did", Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			return explainPlacement(cmd.Context(), a, args[0], c.Events)
		},
	}
	a.clusterFlags(cmd)
	a.outputFlag(cmd)
	return cmd
}

// eventsOf is how the event log of a job is read.
type eventsOf func(ctx context.Context, id string, from uint64, follow bool) iter.Seq2[*pb.Event, error]

func explainPlacement(ctx context.Context, a *app, id string, read eventsOf) error {
	d := &placementDoc{Job: id, Levels: map[string]int{}}
	for e, err := range read(ctx, id, 0, false) {
		if err != nil {
			return err
		}
		d.Job = e.GetJob()
		p := e.GetPlacement()
		if p == nil {
			continue
		}
		t := e.GetTask()
		d.Levels[p.GetLevel()]++
		d.Tasks = append(d.Tasks, placedDoc{
			Stage: t.GetStage(), Index: t.GetIndex(), Attempt: t.GetAttempt(), Worker: e.GetWorker(),
			Level: p.GetLevel(), Waited: (time.Duration(p.GetWaitedMillis()) * time.Millisecond).Seconds(), Copy: p.GetCopy(), Why: p.GetWhy(),
		})
	}
	return printOne(a, d, func(w io.Writer) {
		fmt.Fprintln(w, "TASK\tWORKER\tLEVEL\tWAITED\tWHY")
		for _, t := range d.Tasks {
			fmt.Fprintf(w, "%d/%d.%d\t%s\t%s\t%s\t%s\n", t.Stage, t.Index, t.Attempt, console.Plain(t.Worker), t.Level,
				console.Duration(time.Duration(t.Waited*float64(time.Second))), console.Plain(t.Why))
		}
		if len(d.Tasks) > 0 {
			fmt.Fprintf(w, "\n%s\n", levelCounts(d.Levels))
		}
	})
}

// levelCounts puts numbers of tasks by level into words.
func levelCounts[N int | int64](levels map[string]N) string {
	var all []string
	for _, l := range slices.Sorted(maps.Keys(levels)) {
		all = append(all, fmt.Sprintf("%d %s", levels[l], l))
	}
	return strings.Join(all, ", ")
}
