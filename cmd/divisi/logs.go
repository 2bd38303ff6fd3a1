package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type logsOptions struct {
	app  *app
	logs func(ctx context.Context, req *pb.LogsRequest) iter.Seq2[*pb.LogChunk, error]
	req  *pb.LogsRequest
}

func logsCommand(a *app) *cobra.Command {
	o := logsOptions{app: a}
	follow := false
	cmd := &cobra.Command{
		Use: "logs JOB[/STAGE[/TASK[.ATTEMPT]]]", Short: "Print the logs of a job's tasks", Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := parseLogs(args[0])
			if err != nil {
				return err
			}
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			req.Follow = follow
			o.req, o.logs = req, c.Logs
			return logs(cmd.Context(), o)
		},
	}
	a.clusterFlags(cmd)
	a.outputFlag(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	return cmd
}

// parseLogs reads JOB[/STAGE[/TASK[.ATTEMPT]]].
func parseLogs(s string) (*pb.LogsRequest, error) {
	req := &pb.LogsRequest{Stage: -1, Index: -1, Attempt: -1}
	parts := strings.Split(s, "/")
	req.Job = parts[0]
	bad := console.Exitf(console.Usage, "%q: want JOB, JOB/STAGE, JOB/STAGE/TASK or JOB/STAGE/TASK.ATTEMPT", s)
	if len(parts) > 3 || req.Job == "" {
		return nil, bad
	}
	if len(parts) == 3 {
		task, attempt, has := strings.Cut(parts[2], ".")
		parts[2] = task
		if has && !number(&req.Attempt, attempt) {
			return nil, bad
		}
		if !number(&req.Index, task) {
			return nil, bad
		}
	}
	if len(parts) > 1 && !number(&req.Stage, parts[1]) {
		return nil, bad
	}
	return req, nil
}

func number(n *int32, text string) bool {
	v, err := strconv.ParseInt(text, 10, 32)
	*n = int32(v)
	return err == nil && v >= 0
}

type logDoc struct {
	versioned
	Task   string `json:"task"`
	Worker string `json:"worker"`
	Text   string `json:"text"`
	Gone   string `json:"gone"` // why a log cannot be had
}

func logs(ctx context.Context, o logsOptions) error {
	last := ""
	var docs []*logDoc
	for c, err := range o.logs(ctx, o.req) {
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d/%d.%d", c.GetTask().GetStage(), c.GetTask().GetIndex(), c.GetTask().GetAttempt())
		d := &logDoc{Task: name, Worker: c.Worker, Text: string(c.Data), Gone: c.Gone}
		switch o.app.output {
		case "jsonl":
			d.setVersion()
			if err := json.NewEncoder(o.app.out).Encode(d); err != nil {
				return err
			}
			continue
		case "json", "yaml":
			docs = append(docs, d)
			continue
		}
		if head := fmt.Sprintf("==> %s on %s <==", name, c.Worker); head != last {
			fmt.Fprintln(o.app.out, head)
			last = head
		}
		if c.Gone != "" {
			fmt.Fprintf(o.app.out, "(not to be had: %s)\n", console.Plain(c.Gone))
		}
		if _, err := fmt.Fprint(o.app.out, console.Plain(string(c.Data))); err != nil {
			return err
		}
	}
	if o.app.output == "json" || o.app.output == "yaml" {
		return printList(o.app, "logs", docs, nil)
	}
	return nil
}
