package client

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// describeVersion is of the form in which a job binary describes its job.
const describeVersion = 1

type description struct {
	Version int             `json:"schema_version"`
	Job     json.RawMessage `json:"job"`
	Files   []ShippedFile   `json:"files,omitempty"`
}

// Describe writes a submission as JSON, for another process to submit. The binary
// is left out: who reads it knows what it has run.
func (s Submission) Describe(w io.Writer) error {
	job, err := protojson.Marshal(s.Job)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(description{describeVersion, job, s.Files})
}

// ParseDescription reads what Describe wrote.
func ParseDescription(b []byte) (Submission, error) {
	var d description
	if err := json.Unmarshal(b, &d); err != nil {
		return Submission{}, fmt.Errorf("a job's description: %w", err)
	}
	if d.Version != describeVersion {
		return Submission{}, fmt.Errorf("a job's description of version %d, this program reads %d: build both from one release", d.Version, describeVersion)
	}
	s := Submission{Job: &pb.JobSpec{}, Files: d.Files}
	if err := protojson.Unmarshal(d.Job, s.Job); err != nil {
		return Submission{}, fmt.Errorf("a job's description: %w", err)
	}
	return s, nil
}

// WorkDirEnv names the folder that a job's relative paths start from: the one the
// job was submitted in, wherever its tasks run.
const WorkDirEnv = "DIVISI_WORKDIR"

// traveling are the variables that storage drivers and connectors read.
var traveling = []string{
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
	"AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
	"HADOOP_CONF_DIR", "HADOOP_USER_NAME", "TZ",
}

// Environment is what of this process's environment a job's tasks get: what the
// storage drivers read, and where relative paths start.
func Environment() map[string]string {
	env := map[string]string{}
	for _, name := range traveling {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	if dir, err := os.Getwd(); err == nil {
		env[WorkDirEnv] = dir
	}
	return env
}
