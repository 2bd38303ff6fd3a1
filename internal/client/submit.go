package client

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// chunkBytes is the size of an upload's messages.
const chunkBytes = 256 << 10

// submitWithin bounds the wait for a submission to be acknowledged.
const submitWithin = 2 * time.Minute

// A Submission is a job and the files it needs.
type Submission struct {
	Job    *pb.JobSpec // without id; the sums of binary and files are filled in
	Binary string      // path of the job binary; "" in process
	Files  []ShippedFile
	Key    string // idempotency key; "": a random one
	Queue  string // path of the queue, "": the root's own
	// Priority orders jobs of a queue: higher ones go first.
	Priority int32
}

// A ShippedFile travels with a job.
type ShippedFile struct {
	Name string `json:"name"` // what tasks ask for
	Path string `json:"path"` // on this machine
}

// Submit uploads what the cluster lacks and submits. When it returns the job's id,
// the job is in the coordinator's journal.
func (c *Client) Submit(ctx context.Context, s Submission) (string, error) {
	var arts []artifact
	sums := userSums()
	if s.Binary != "" {
		a, err := sums.sum(s.Binary)
		if err != nil {
			return "", err
		}
		arts = append(arts, a)
		s.Job.BinarySha256 = a.sha
	}
	s.Job.Files = nil
	for _, f := range s.Files {
		a, err := sums.sum(f.Path)
		if err != nil {
			return "", err
		}
		arts = append(arts, a)
		s.Job.Files = append(s.Job.Files, &pb.ShippedFile{Name: f.Name, Sha256: a.sha, Size: a.size})
	}
	if s.Key == "" {
		s.Key = rand.Text()
	}
	req := &pb.SubmitRequest{Job: s.Job, IdempotencyKey: s.Key, Owner: owner(), Queue: s.Queue, Priority: s.Priority}
	// Most often the cluster has all of it from the last time, and if not, it refuses.
	id, err := c.submit(ctx, req)
	if status.Code(err) == codes.FailedPrecondition && len(arts) > 0 {
		if err := c.upload(ctx, arts); err != nil {
			return "", err
		}
		id, err = c.submit(ctx, req)
	}
	if err != nil {
		return "", c.translate("submit "+s.Job.Name, err)
	}
	return id, nil
}

// submit asks until there is an answer. Once it has begun, a cancelled caller gets the id,
// to cancel the job by: else a job that was accepted would run on unseen. The key makes it
// safe to ask again when the answer was lost.
func (c *Client) submit(ctx context.Context, req *pb.SubmitRequest) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	sctx, stop := context.WithTimeout(context.WithoutCancel(ctx), submitWithin)
	defer stop()
	r, err := retry(sctx, c, func(ctx context.Context, rpc pb.ClientClient) (*pb.SubmitReply, error) { return rpc.Submit(ctx, req) })
	return r.GetJob(), err
}

type artifact struct {
	path, sha string
	size      int64
}

// upload sends the artifacts that the cluster does not have.
func (c *Client) upload(ctx context.Context, arts []artifact) error {
	if len(arts) == 0 {
		return nil
	}
	req := &pb.HasArtifactsRequest{}
	for _, a := range arts {
		if !slices.Contains(req.Sha256, a.sha) { // two names may have one content
			req.Sha256 = append(req.Sha256, a.sha)
		}
	}
	r, err := retry(ctx, c, func(ctx context.Context, rpc pb.ClientClient) (*pb.HasArtifactsReply, error) {
		return rpc.HasArtifacts(ctx, req)
	})
	if err != nil {
		return c.translate("upload", err)
	}
	for _, a := range arts {
		i := slices.Index(r.Missing, a.sha)
		if i < 0 {
			continue
		}
		r.Missing = slices.Delete(r.Missing, i, i+1) // sent once
		if _, err := retry(ctx, c, func(ctx context.Context, rpc pb.ClientClient) (*pb.PutArtifactReply, error) { return put(ctx, rpc, a) }); err != nil {
			return c.translate("upload "+a.path, err)
		}
	}
	return nil
}

// put sends one file. Its content is checked against the sum at the other end.
func put(ctx context.Context, rpc pb.ClientClient, a artifact) (*pb.PutArtifactReply, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := os.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := rpc.PutArtifact(ctx)
	if err != nil {
		return nil, err
	}
	head := &pb.ArtifactHeader{Sha256: a.sha, Size: a.size, Name: filepath.Base(a.path)}
	err = s.Send(&pb.PutArtifactRequest{Body: &pb.PutArtifactRequest_Header{Header: head}})
	buf := make([]byte, chunkBytes)
	for err == nil {
		var n int
		n, err = io.ReadFull(f, buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return nil, err
		}
		err = s.Send(&pb.PutArtifactRequest{Body: &pb.PutArtifactRequest_Data{Data: buf[:n]}})
	}
	// A failed Send says only that the stream has ended; CloseAndRecv says why.
	return s.CloseAndRecv()
}

func owner() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return os.Getenv("USER")
}
