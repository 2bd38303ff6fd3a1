package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/security"
)

func flagNames(cmd *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return names
}

// choice is a flag's value that is one of some words.
type choice struct {
	s    *string
	want []string
}

func (c choice) String() string { return *c.s }
func (c choice) Type() string   { return strings.Join(c.want, "|") }
func (c choice) Set(v string) error {
	if !slices.Contains(c.want, v) {
		if near := console.Suggest(v, c.want); near != "" {
			return fmt.Errorf("want %s: did you mean %s?", c.Type(), near)
		}
		return fmt.Errorf("want %s", c.Type())
	}
	*c.s = v
	return nil
}

// clusterFlags adds the flags that say which cluster is meant.
func (a *app) clusterFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.cluster, "cluster", "", "the coordinator's HOST:PORT, several with commas between when there are standbys (or DIVISI_CLUSTER, or that of a local cluster)")
	cmd.Flags().StringVar(&a.security, "security", "", "folder of a client's certificate, for a cluster with TLS (or DIVISI_SECURITY, or that of a local cluster)")
	a.dirFlag(cmd)
}

func (a *app) dirFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.dir, "dir", "", "folder of a local cluster (default "+defaultDir()+")")
}

func (a *app) outputFlag(cmd *cobra.Command) {
	a.output = "table"
	cmd.Flags().VarP(choice{&a.output, []string{"table", "json", "jsonl", "yaml"}}, "output", "o", "form of the output")
}

// defaultDir is where "divisi up" keeps a cluster unless told otherwise.
func defaultDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "divisi", "local")
}

func (a *app) localDir() string {
	if a.dir != "" {
		return a.dir
	}
	return defaultDir()
}

// A target is a cluster that is meant.
type target struct {
	address  string // of the coordinator, several with commas between
	security string // folder of a client's certificate; "": none
}

// target is what the flags say, or else the environment, or else the local cluster.
func (a *app) target() (target, error) {
	t := target{a.cluster, cmp.Or(a.security, os.Getenv("DIVISI_SECURITY"))}
	if t.address == "" && a.dir == "" {
		t.address = os.Getenv("DIVISI_CLUSTER")
	}
	if t.address != "" {
		return t, nil
	}
	info, err := readCluster(a.localDir())
	if errors.Is(err, fs.ErrNotExist) {
		return t, console.Exitf(console.Unreachable, "no cluster is named, and none runs in %s: "+
			"name one by --cluster HOST:PORT or DIVISI_CLUSTER, or start one by \"divisi up\"", a.localDir())
	}
	return target{info.Coordinator, cmp.Or(t.security, info.Security)}, err
}

// dial connects to the cluster that is meant.
func (a *app) dial(ctx context.Context) (*client.Client, error) { return a.connect(ctx, client.Dial) }

// dialPatiently is dial for those who come to submit.
func (a *app) dialPatiently(ctx context.Context) (*client.Client, error) {
	return a.connect(ctx, client.DialPatiently)
}

func (a *app) connect(ctx context.Context, dial func(context.Context, string, ...client.Option) (*client.Client, error)) (*client.Client, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	id, err := security.LoadClient(t.security)
	if err != nil {
		return nil, err
	}
	return dial(ctx, t.address, client.As(id))
}

// clusterInfo is the content of cluster.json.
type clusterInfo struct {
	Coordinator string        `json:"coordinator"`
	HTTP        string        `json:"http"`
	Security    string        `json:"security,omitempty"` // folder of a client's certificate
	Processes   []processInfo `json:"processes"`
}

type processInfo struct {
	Role    string `json:"role"` // coordinator or worker
	ID      string `json:"id"`
	PID     int    `json:"pid"`
	Address string `json:"address"`
}

const clusterFile = "cluster.json"

func readCluster(dir string) (clusterInfo, error) {
	var info clusterInfo
	b, err := os.ReadFile(filepath.Join(dir, clusterFile))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return info, fmt.Errorf("%s: %w", filepath.Join(dir, clusterFile), err)
	}
	return info, nil
}

// writeCluster writes cluster.json atomically: a reader sees the old one or the
// new one.
func writeCluster(dir string, info clusterInfo) error {
	b, err := json.Marshal(info)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, clusterFile+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), filepath.Join(dir, clusterFile))
}
