package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/client"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/storage"
)

// someJobs are what a coordinator knows, by their ids.
type someJobs []string

func (s someJobs) Job(_ context.Context, id string) (*pb.JobStatus, error) {
	for _, known := range s {
		if known == id {
			return &pb.JobStatus{Id: id}, nil
		}
	}
	return nil, client.ErrNotFound
}

func (s someJobs) Jobs(context.Context, string, int) (all []*pb.JobStatus, _ error) {
	for _, id := range s {
		all = append(all, &pb.JobStatus{Id: id})
	}
	return all, nil
}

// A living job whose name is too long for a folder is not taken for an unknown one.
func TestJobOfShortenedName(t *testing.T) {
	long, other := strings.Repeat("A", 150), strings.Repeat("B", 150)
	known := someJobs{"short", long}
	for _, c := range []struct{ ask, want string }{
		{"short", "short"}, {long, long}, {storage.OwnerFolder(long), long}, {storage.OwnerFolder(other), ""}, {"unknown", ""},
	} {
		j, err := jobOf(t.Context(), known, c.ask)
		if c.want == "" && !errors.Is(err, client.ErrNotFound) || c.want != "" && (err != nil || j.Id != c.want) {
			t.Errorf("%.20s…: %v, %v", c.ask, j, err)
		}
	}
}
