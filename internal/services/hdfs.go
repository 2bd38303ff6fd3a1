package services

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// HDFSOptions say what kind of cluster is wanted.
type HDFSOptions struct {
	HA          bool  // two NameNodes, nn1 the active one, and a JournalNode
	DataNodes   int   // 3 where 0
	Replication int   // 2 where 0
	BlockSize   int64 // bytes, a multiple of 512; 1 MiB where 0
	OneRack     bool  // which leaves it to chance where replicas lie
	// Keys are names of encryption keys that the NameNode finds when it starts.
	Keys []string
	// Properties are for hdfs-site.xml of servers and clients.
	Properties map[string]string
}

// An HDFSCluster is a running Apache Hadoop HDFS, each node a process of its own.
// The nodes are called namenode-1, namenode-2, journal-1, datanode-1 and so on.
// DataNode i is at 127.0.0.(i+1); odd ones are in /rack1, even ones in /rack2, unless
// all are in one.
type HDFSCluster struct {
	URL       string   // fs.defaultFS: hdfs://host:port, or hdfs://divisi with HA
	ConfDir   string   // for HADOOP_CONF_DIR
	User      string   // who the servers run as, the superuser
	NameNodes []string // host:port of RPC
	HTTP      []string // host:port of each NameNode's web address
	DataNodes []string // hosts

	owner testing.TB // whose end is the cluster's, also where a subtest starts a node
	dir   string
	jars  hadoopJars
	nodes map[string]*hdfsNode
}

type hdfsNode struct {
	class   string
	heap    string
	listens string // host:port
	web     string // host:port of a DataNode's web address
	process *process
}

// HDFS starts a cluster for the length of a test.
func HDFS(t testing.TB, o HDFSOptions) *HDFSCluster {
	t.Helper()
	notShort(t)
	jars, err := hadoop(t.Context())
	unless(t, err)
	if o.DataNodes == 0 {
		o.DataNodes = 3
	}
	var last error
	for range 3 { // another process may take a port first, or a NameNode never answer
		c := &HDFSCluster{owner: t, dir: t.TempDir(), jars: jars, nodes: map[string]*hdfsNode{}}
		if last = c.run(t, o); last == nil {
			return c
		}
		for _, n := range c.nodes {
			if n.process != nil {
				n.process.kill()
			}
		}
		t.Logf("a cluster that did not start is started anew: %v", last)
	}
	t.Fatal(last)
	return nil
}

func (c *HDFSCluster) run(t testing.TB, o HDFSOptions) error {
	if err := c.configure(o); err != nil {
		return err
	}
	for _, key := range o.Keys {
		if out, err := c.Tool(t.Context(), "org.apache.hadoop.crypto.key.KeyShell", "create", key, "-provider", c.keyProvider()); err != nil {
			return fmt.Errorf("making the key %s: %w\n%s", key, err, out)
		}
	}
	const nameNode = "org.apache.hadoop.hdfs.server.namenode.NameNode"
	if o.HA {
		if err := c.listening(t, "journal-1"); err != nil {
			return err
		}
	}
	if out, err := c.tool(t.Context(), "namenode-1", nameNode, "-format", "-nonInteractive"); err != nil {
		return fmt.Errorf("formatting: %w\n%s", err, tail(out, 2000))
	}
	for i := range c.DataNodes {
		if err := c.start(fmt.Sprintf("datanode-%d", i+1)); err != nil {
			return err
		}
	}
	if err := c.listening(t, "namenode-1"); err != nil {
		return err
	}
	if o.HA {
		if out, err := c.tool(t.Context(), "namenode-2", nameNode, "-bootstrapStandby", "-nonInteractive"); err != nil {
			return fmt.Errorf("the standby's start: %w\n%s", err, tail(out, 2000))
		}
		if err := c.listening(t, "namenode-2"); err != nil {
			return err
		}
		if out, err := c.admin(t.Context(), "-transitionToActive", "nn1"); err != nil {
			return fmt.Errorf("making nn1 active: %w\n%s", err, tail(out, 2000))
		}
	}
	for i := range c.HTTP {
		if err := c.nodes[fmt.Sprintf("namenode-%d", i+1)].process.ready(t.Context(), func(ctx context.Context) error {
			return c.live(ctx, c.HTTP[i], nil)
		}); err != nil {
			return err
		}
	}
	return c.nodes["namenode-1"].process.ready(t.Context(), c.writeAndRead)
}

func (c *HDFSCluster) start(name string) (err error) {
	n := c.nodes[name]
	n.process, err = start(c.owner, c.dir, []string{"HADOOP_CONF_DIR=" + c.conf(name)}, "java",
		c.jars.java(c.conf(name), n.heap, 4, n.class)...)
	if err == nil {
		// Its data goes with the folder, so there is nothing to end in order.
		c.owner.Cleanup(n.process.kill)
	}
	return err
}

// listening starts a node and waits until somebody can connect to it.
func (c *HDFSCluster) listening(t testing.TB, name string) error {
	if err := c.start(name); err != nil {
		return err
	}
	n := c.nodes[name]
	return n.process.ready(t.Context(), func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", n.listens)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// Kill ends a node at once, as a power failure would.
func (c *HDFSCluster) Kill(name string) { c.nodes[name].process.kill() }

// Pause stops a node without ending it, until Resume.
func (c *HDFSCluster) Pause(name string) error { return c.signal(name, syscall.SIGSTOP) }

// Resume lets a paused node go on.
func (c *HDFSCluster) Resume(name string) error { return c.signal(name, syscall.SIGCONT) }

func (c *HDFSCluster) signal(name string, s syscall.Signal) error {
	return c.nodes[name].process.cmd.Process.Signal(s)
}

// Start starts a killed node again, with its data and ports, and waits until it
// listens.
func (c *HDFSCluster) Start(t testing.TB, name string) {
	t.Helper()
	if err := c.listening(t, name); err != nil {
		t.Fatal(err)
	}
}

// Failover makes one NameNode (nn1, nn2) active in place of the other, which may
// be dead.
func (c *HDFSCluster) Failover(t testing.TB, from, to string) {
	t.Helper()
	if out, err := c.admin(t.Context(), "-failover", "--forcefence", from, to); err != nil {
		t.Fatalf("fail-over to %s: %v\n%s", to, err, tail(out, 2000))
	}
}

func (c *HDFSCluster) admin(ctx context.Context, args ...string) ([]byte, error) {
	return c.Tool(ctx, "org.apache.hadoop.hdfs.tools.DFSHAAdmin", args...)
}

// AwaitLive waits until the NameNode counts all DataNodes as alive and has just
// heard of them, but the dead ones, which it counts as dead.
func (c *HDFSCluster) AwaitLive(t testing.TB, dead ...string) {
	t.Helper()
	var why error
	if err := c.nodes["namenode-1"].process.ready(t.Context(), func(ctx context.Context) error {
		err := c.live(ctx, c.HTTP[0], dead)
		if err != nil && ctx.Err() == nil {
			why = err
		}
		return err
	}); err != nil {
		t.Fatalf("%v\nbefore: %v", err, why)
	}
}

// Served tells how many bytes of blocks a DataNode has sent to readers since it
// started, and how many of these to readers at another address than its own, as of a
// second ago.
func (c *HDFSCluster) Served(ctx context.Context, node string) (all, remote int64, err error) {
	text, err := get(ctx, http.MethodGet, "http://"+c.nodes[node].web+"/jmx?qry=Hadoop:service=DataNode,name=DataNodeActivity*", "")
	if err != nil {
		return 0, 0, err
	}
	var state struct {
		Beans []struct{ BytesRead, RemoteBytesRead int64 }
	}
	if err := json.Unmarshal(text, &state); err != nil || len(state.Beans) != 1 {
		return 0, 0, fmt.Errorf("no numbers of a DataNode: %w: %s", err, text)
	}
	return state.Beans[0].BytesRead, state.Beans[0].RemoteBytesRead, nil
}

// Shell runs Hadoop's file system shell, as `hadoop fs`.
func (c *HDFSCluster) Shell(ctx context.Context, args ...string) ([]byte, error) {
	return c.Tool(ctx, "org.apache.hadoop.fs.FsShell", args...)
}

// Tool runs a class of Hadoop's against the cluster and returns what it printed.
func (c *HDFSCluster) Tool(ctx context.Context, class string, args ...string) ([]byte, error) {
	return c.tool(ctx, "client", class, args...)
}

func (c *HDFSCluster) tool(ctx context.Context, as, class string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "java", append(c.jars.java(c.conf(as), "256m", 1, class), args...)...)
	cmd.Dir, cmd.WaitDelay = c.dir, 5*time.Second
	cmd.Env = append(os.Environ(), "HADOOP_CONF_DIR="+c.conf(as))
	out, err := cmd.Output()
	if e, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("%w: %s", err, tail(e.Stderr, 2000))
	}
	return out, err
}

// live says how a NameNode is not ready to work with all DataNodes but the dead.
func (c *HDFSCluster) live(ctx context.Context, address string, dead []string) error {
	text, err := get(ctx, http.MethodGet, "http://"+address+"/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo", "")
	if err != nil {
		return err
	}
	var state struct {
		Beans []struct{ Safemode, LiveNodes string }
	}
	if err := json.Unmarshal(text, &state); err != nil || len(state.Beans) != 1 {
		return fmt.Errorf("no state of a NameNode: %w: %s", err, text)
	}
	if why := state.Beans[0].Safemode; why != "" {
		return fmt.Errorf("in safe mode: %s", why)
	}
	var nodes map[string]struct {
		Address     string `json:"xferaddr"`
		LastContact int    `json:"lastContact"` // seconds ago
	}
	if err := json.Unmarshal([]byte(state.Beans[0].LiveNodes), &nodes); err != nil {
		return err
	}
	heard := map[string]bool{}
	for _, n := range nodes {
		heard[n.Address] = n.LastContact <= 1
	}
	for i := range c.DataNodes {
		name := fmt.Sprintf("datanode-%d", i+1)
		fresh, alive := heard[c.nodes[name].listens]
		if slices.Contains(dead, name) {
			if alive {
				return fmt.Errorf("%s still counts as alive", name)
			}
		} else if !fresh {
			return fmt.Errorf("nothing heard of %s (alive: %s)", name, state.Beans[0].LiveNodes)
		}
	}
	return nil
}

func (c *HDFSCluster) writeAndRead(ctx context.Context) error {
	url := "http://" + c.HTTP[0] + "/webhdfs/v1/.divisi-ready?user.name=" + c.User + "&op="
	if _, err := get(ctx, http.MethodPut, url+"CREATE&overwrite=true", "ready"); err != nil {
		return err
	}
	if text, err := get(ctx, http.MethodGet, url+"OPEN", ""); err != nil || string(text) != "ready" {
		return fmt.Errorf("read %q, %w", text, err)
	}
	_, err := get(ctx, http.MethodDelete, url+"DELETE", "")
	return err
}

// get does one HTTP request, redirects included.
func get(ctx context.Context, method, url, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, tail(text, 500))
	}
	return text, err
}

func (c *HDFSCluster) conf(node string) string { return filepath.Join(c.dir, "conf", node) }

func (c *HDFSCluster) keyProvider() string {
	return "jceks://file" + filepath.Join(c.dir, "keys.jceks")
}

// at is a free port of a host, as host:port.
func at(host string) (string, error) {
	port, err := freePortOf(host)
	return net.JoinHostPort(host, strconv.Itoa(port)), err
}
