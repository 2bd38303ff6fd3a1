package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/storage"
)

type gcOptions struct {
	app       *app
	places    []string
	olderThan time.Duration
	remove    bool
	now       func() time.Time
	// job is what the coordinator knows of a job; nil: there is none to ask.
	job func(ctx context.Context, id string) (*pb.JobStatus, error)
}

func gcCommand(a *app) *cobra.Command {
	o := gcOptions{app: a, now: time.Now}
	cmd := &cobra.Command{
		Use: "gc FOLDER...", Short: "Show, and remove, what dead jobs left in places of outputs", Args: between(1, -1),
		Long: "Show what jobs have written at or below folders and not published: attempts, uploads that\n" +
			"were not completed, and files of a commit that was not finished. With --delete, remove it:\n" +
			"what a job had decided to publish is published whole first, or taken back.\n\n" +
			"A coordinator, where one is named or runs here, knows which jobs live: theirs is never\n" +
			"touched, and what a job left that has ended goes. A job that it does not know, or any job where\n" +
			"there is no coordinator to ask, counts as dead when nothing of it has changed for longer than\n" +
			"--older-than. S3 and HDFS know only when a file was begun, so let that be longer than any job\n" +
			"runs, and longer than any coordinator may be down.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.places = args
			if o.olderThan <= 0 {
				return console.Exitf(console.Usage, "--older-than has to be more than nothing")
			}
			switch known, err := a.known(); {
			case err != nil:
				return err
			case known:
				c, err := a.dial(cmd.Context())
				if err != nil {
					return err
				}
				defer c.Close()
				o.job = func(ctx context.Context, id string) (*pb.JobStatus, error) { return jobOf(ctx, c, id) }
			}
			return gc(cmd.Context(), o)
		},
	}
	a.clusterFlags(cmd)
	a.outputFlag(cmd)
	cmd.Flags().BoolVar(&o.remove, "delete", false, "remove what dead jobs left, instead of only showing it")
	cmd.Flags().DurationVar(&o.olderThan, "older-than", 7*24*time.Hour, "a job that no coordinator knows is dead when nothing of it has changed for so long")
	return cmd
}

// knowsJobs is the part of a client that jobOf needs.
type knowsJobs interface {
	Job(ctx context.Context, id string) (*pb.JobStatus, error)
	Jobs(ctx context.Context, state string, limit int) ([]*pb.JobStatus, error)
}

// jobOf is a job by its id, or by the shortened name of the folder of what it writes.
func jobOf(ctx context.Context, c knowsJobs, id string) (*pb.JobStatus, error) {
	if !storage.IsShortened(id) {
		return c.Job(ctx, id)
	}
	jobs, err := c.Jobs(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if storage.OwnerFolder(j.Id) == id {
			return c.Job(ctx, j.Id)
		}
	}
	return nil, client.ErrNotFound
}

// known reports whether a coordinator is named or runs here.
func (a *app) known() (bool, error) {
	if a.cluster == "" && a.dir == "" && os.Getenv("DIVISI_CLUSTER") == "" {
		if _, err := readCluster(a.localDir()); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
	}
	_, err := a.target()
	return err == nil, err
}

// A leftDoc is what one job left in one place. Field names are a contract.
type leftDoc struct {
	versioned
	Place   string   `json:"place"`
	Job     string   `json:"job"` // "" where no job is noted
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"`
	Commits []string `json:"commits"` // outputs that the job had begun to publish
	Changed string   `json:"changed"` // RFC 3339
	Dead    bool     `json:"dead"`
	Why     string   `json:"why"` // it is dead, or is not
	Removed bool     `json:"removed"`
}

func gc(ctx context.Context, o gcOptions) error {
	var docs []*leftDoc
	var errs []error
	for _, place := range o.places {
		left, err := files.FindLeftovers(ctx, place)
		if err != nil {
			errs = append(errs, err)
		}
		for _, l := range left {
			d := &leftDoc{Place: place, Job: l.Job, Files: l.Attempts, Bytes: l.Bytes, Commits: append([]string{}, l.Commits...), Changed: l.Changed.UTC().Format(time.RFC3339)}
			docs = append(docs, d)
			if d.Dead, d.Why, err = o.dead(ctx, l); err != nil {
				return err
			}
			if !d.Dead || !o.remove {
				continue
			}
			if err := files.RemoveLeftovers(ctx, place, l); err != nil {
				errs = append(errs, err)
				continue
			}
			d.Removed = true
		}
	}
	err := printList(o.app, "leftovers", docs, func(w io.Writer) { leftTable(w, docs, o.remove) })
	return errors.Join(append(errs, err)...)
}

// dead says whether a job will do nothing any more with what it left.
func (o gcOptions) dead(ctx context.Context, l files.Leftovers) (bool, string, error) {
	unknown := "there is no coordinator to ask"
	if o.job != nil && l.Job != "" {
		unknown = "the coordinator does not know the job"
		s, err := o.job(ctx, l.Job)
		switch {
		case err == nil && client.Ended(s.State) && s.Cleaned:
			if s.Left != "" {
				return true, "the job has ended, and could not remove it: " + console.Plain(s.Left), nil
			}
			return true, "the job has ended", nil
		case err == nil && !client.Ended(s.State):
			return false, "the job is " + console.State(s.State), nil
		case err == nil:
			unknown = "the coordinator has not cleaned up after the job"
		case !errors.Is(err, client.ErrNotFound):
			return false, "", err
		}
	}
	age := o.now().Sub(l.Changed)
	ago := console.Duration(age.Round(time.Second))
	if l.Changed.IsZero() || age < o.olderThan {
		return false, fmt.Sprintf("%s, and it changed %s ago", unknown, ago), nil
	}
	return true, fmt.Sprintf("%s, and nothing has changed for %s", unknown, ago), nil
}

func leftTable(w io.Writer, docs []*leftDoc, remove bool) {
	if len(docs) == 0 {
		fmt.Fprintln(w, "nothing is left")
		return
	}
	dead := 0
	fmt.Fprintln(w, "PLACE\tJOB\tFILES\tSIZE\tSTATE\tWHY")
	for _, d := range docs {
		state := "kept"
		switch {
		case d.Removed:
			state = "removed"
		case d.Dead:
			state = "dead"
			dead++
		}
		job := console.Plain(d.Job)
		if job == "" {
			job = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", console.Plain(d.Place), job, d.Files, console.Bytes(d.Bytes), state, d.Why)
	}
	if dead > 0 && !remove {
		fmt.Fprintln(w, "nothing was removed: --delete removes what is dead")
	}
}
