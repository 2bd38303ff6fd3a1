package main

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/services"
)

// besides starts a coordinator and, on the host of each DataNode, a worker.
func besides(t *testing.T, c *services.HDFSCluster, slots string) (addr string) {
	t.Helper()
	t.Setenv("HADOOP_CONF_DIR", c.ConfDir)
	t.Setenv("HADOOP_USER_NAME", c.User)
	divisi := filepath.Join(bin, "divisi")
	addr = mustLaunch(t, divisi, "coordinator", "--listen", "127.0.0.1:0", "--http", "", "--state", t.TempDir()).ready.Address
	for _, host := range c.DataNodes {
		mustLaunch(t, divisi, "worker", "--coordinator", addr, "--dir", t.TempDir(), "--slots", slots, "--host", host, "--id", host, "--memory", "256MiB")
	}
	return addr
}

// put lets Hadoop's own shell write files into a folder, each from the host of one
// DataNode after the other, so that this one has a replica of every block of it.
func put(t *testing.T, c *services.HDFSCluster, folder string, files ...[]byte) {
	t.Helper()
	if out, err := c.Shell(t.Context(), "-mkdir", folder); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var g errgroup.Group
	for i, f := range files {
		local := filepath.Join(t.TempDir(), fmt.Sprintf("file-%d", i))
		if err := os.WriteFile(local, f, 0o600); err != nil {
			t.Fatal(err)
		}
		g.Go(func() error {
			out, err := c.Shell(t.Context(), "-D", "hadoop.rpc.socket.factory.class.default=BindingSocketFactory",
				"-D", "divisi.rpc.bind.address="+c.DataNodes[i%len(c.DataNodes)], "-put", local, folder)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// published reads an output with Hadoop's own shell: its parts in order, and nothing else
// may be in its folder.
func published(t *testing.T, c *services.HDFSCluster, folder string) []byte {
	t.Helper()
	list, err := c.Shell(t.Context(), "-ls", "-C", "-R", folder)
	if err != nil {
		t.Fatal(err)
	}
	marked := false
	for name := range strings.FieldsSeq(string(list)) {
		switch base := strings.TrimPrefix(name, folder+"/"); {
		case base == "_SUCCESS":
			marked = true
		case !strings.HasPrefix(base, "part-"):
			t.Errorf("left in the output: %s", name)
		}
	}
	if !marked {
		t.Errorf("no _SUCCESS in %s: %s", folder, list)
	}
	text, err := c.Shell(t.Context(), "-cat", folder+"/part-*")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// someText is files of lines of words, of so many bytes each, and what a count of the
// words is, in order. Of slow words there is one in so many lines, if any.
func someText(files, bytesEach, slowIn int) (texts [][]byte, want []byte) {
	random := rand.New(rand.NewPCG(3, 4))
	counts := map[string]int{}
	for range files {
		var b bytes.Buffer
		for k := 1; b.Len() < bytesEach-500; k++ {
			if slowIn > 0 && k%slowIn == 0 {
				b.WriteString("slow ")
				counts["slow"]++
			}
			for i := range random.IntN(20) {
				w := fmt.Sprintf("w%d", random.IntN(1+random.IntN(5000)))
				counts[w]++
				b.WriteString(w)
				b.WriteString([]string{" ", "  "}[i%2])
			}
			b.WriteByte('\n')
		}
		b.Write(bytes.Repeat([]byte{'\n'}, bytesEach-b.Len()))
		texts = append(texts, b.Bytes())
	}
	var lines []string
	for w, n := range counts {
		lines = append(lines, fmt.Sprintf("%s\t%d\n", w, n))
	}
	slices.Sort(lines)
	return texts, []byte(strings.Join(lines, ""))
}

func sortedLines(text []byte) []byte {
	lines := slices.Collect(bytes.Lines(text))
	slices.SortFunc(lines, bytes.Compare)
	return bytes.Join(lines, nil)
}

// someRecords is files of records of 100 bytes with keys of 10, no two alike, and all
// records in order.
func someRecords(files, each int) (data [][]byte, want []byte) {
	random := rand.NewChaCha8([32]byte{5})
	var all [][]byte
	for range files {
		b := make([]byte, each*100)
		random.Read(b)
		data = append(data, b)
		for r := range slices.Chunk(b, 100) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b []byte) int { return cmp.Or(bytes.Compare(a[:10], b[:10]), bytes.Compare(a, b)) })
	return data, bytes.Join(all, nil)
}

// same compares outputs of which only the beginning of a difference is worth showing.
func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s: %d bytes, want %d; from byte %d on %q, want %q", what, len(got), len(want), at, got[at:min(at+80, len(got))], want[at:min(at+80, len(want))])
}

// served is what all DataNodes have sent to readers.
func served(t *testing.T, c *services.HDFSCluster) (all, remote int64) {
	t.Helper()
	for i := range c.DataNodes {
		a, r, err := c.Served(t.Context(), fmt.Sprintf("datanode-%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		all, remote = all+a, remote+r
	}
	return all, remote
}

// A hdfsRun is what is known of a job that has run.
type hdfsRun struct {
	tasks, near int   // that read the input, and of these on a host that has it
	sent        int64 // bytes, by all DataNodes
	elsewhere   int64 // of sent, to another host than the DataNode's own
}

// runBeside runs a program to its end.
func runBeside(t *testing.T, c *services.HDFSCluster, addr string, input int64, program string, args ...string) (r hdfsRun) {
	t.Helper()
	before, beforeElsewhere := served(t, c)
	id := submitProgram(t, addr, program, args...)
	events := finish(t, addr, id)
	ranOnce(t, events)
	cl, err := client.DialPatiently(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	st, err := cl.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	reads := map[int32]bool{}
	for _, g := range st.Stages {
		reads[g.Id] = strings.HasPrefix(g.Name, "Read")
	}
	for _, e := range events {
		if p := e.GetPlacement(); p != nil && reads[e.GetTask().GetStage()] {
			r.tasks++
			if p.GetLevel() == "host" {
				r.near++
			}
		}
	}
	eventually(t, "the DataNodes know what they sent", func() bool {
		r.sent, r.elsewhere = served(t, c)
		r.sent, r.elsewhere = r.sent-before, r.elsewhere-beforeElsewhere
		return r.sent >= input
	})
	t.Logf("placed: %s; %d of %d tasks that read were on a host with their input; the DataNodes sent %d bytes, %d of them to other hosts",
		levelCounts(st.Placed), r.near, r.tasks, r.sent, r.elsewhere)
	return r
}

// TestHDFS runs jobs from HDFS to HDFS on workers that are beside its DataNodes: the
// outputs are whole, as Hadoop reads them, and of what is read 95 of 100 bytes at least
// come from the node itself, by the scheduler's account and by that of the DataNodes.
func TestHDFS(t *testing.T) {
	services.Clusters(t)
	c := services.HDFS(t, services.HDFSOptions{OneRack: true}) // in two, all blocks lie on the host that has one to itself
	addr := besides(t, c, "1")
	const each = 30 << 20 // two ranges of 15 blocks
	// nearby runs a job until it was near its input. A task that has waited long enough for
	// a place there goes elsewhere, which a machine with much else to do makes it do now
	// and then; it is not the rule.
	nearby := func(t *testing.T, input int64, out, program string, args ...string) {
		t.Helper()
		var r hdfsRun
		for i := range 4 {
			if i > 0 {
				if text, err := c.Shell(t.Context(), "-rm", "-r", out); err != nil {
					t.Fatalf("%v: %s", err, text)
				}
			}
			r = runBeside(t, c, addr, input, program, append(args, c.URL+out)...)
			if r.near*100 >= r.tasks*95 && r.elsewhere*100 <= r.sent*5 {
				return
			}
		}
		t.Errorf("%d of %d tasks that read were on a host with their input, of %d bytes %d were read from another", r.near, r.tasks, r.sent, r.elsewhere)
	}
	t.Run("wordcount", func(t *testing.T) {
		texts, want := someText(3, each, 0)
		put(t, c, "/text", texts...)
		nearby(t, 3*each, "/counts", example(t, "wordcount"), c.URL+"/text")
		same(t, "counts", sortedLines(published(t, c, "/counts")), want)
	})
	t.Run("terasort", func(t *testing.T) {
		data, want := someRecords(3, each/2/100) // one range
		put(t, c, "/records", data...)
		nearby(t, 2*int64(len(want)), "/sorted", example(t, "terasort"), "sort", c.URL+"/records") // it looks for bounds first
		same(t, "records", published(t, c, "/sorted"), want)
		validated(t, c, "/sorted", want)
	})
}

// TestHDFSDeaths kills a DataNode and then the active NameNode while a count and a copy
// run that read and write HDFS: both outputs are right.
func TestHDFSDeaths(t *testing.T) {
	services.Deaths(t)
	c := services.HDFS(t, services.HDFSOptions{HA: true, OneRack: true})
	addr := besides(t, c, "4")                   // both jobs at once
	texts, counts := someText(6, 9_000_000, 800) // a range each
	put(t, c, "/text", texts...)
	cl, err := client.DialPatiently(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	jobs := []string{
		submitJob(t, addr, "--slow", "slow", c.URL+"/text", c.URL+"/counts"),
		submitJob(t, addr, "--slow", "slow", "--copy", c.URL+"/text", c.URL+"/copied"),
	}
	// All are so far in reading their input, and none has done it.
	underway := func(fraction float64) {
		t.Helper()
		for _, id := range jobs {
			for st, err := range cl.Watch(t.Context(), id) {
				if err != nil {
					t.Fatal(err)
				}
				if client.Ended(st.State) || len(st.Stages) > 0 && st.Stages[0].State == "done" {
					t.Fatalf("job %s has done reading before the servers were dead: %s %s", id, st.State, st.Error)
				}
				if len(st.Stages) > 0 && st.Stages[0].Fraction >= fraction {
					break
				}
			}
		}
	}
	underway(0.4) // more than what a writer keeps before it writes any
	c.Kill("datanode-2")
	underway(0.6)
	c.Kill("namenode-1")
	c.Failover(t, "nn1", "nn2")
	for _, id := range jobs {
		finish(t, addr, id)
		st, err := cl.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d tasks, %d attempts, %d retries", id, st.Tasks, st.Attempts, st.Retries)
	}
	same(t, "counts", sortedLines(published(t, c, "/counts")), counts)
	same(t, "lines", sortedLines(published(t, c, "/copied")), sortedLines(bytes.Join(texts, nil)))
}

// validated lets Hadoop's TeraValidate judge an output: it writes nothing but the
// checksum of the records if they are in order.
func validated(t *testing.T, c *services.HDFSCluster, folder string, records []byte) {
	t.Helper()
	out, err := c.Tool(t.Context(), "org.apache.hadoop.examples.terasort.TeraValidate", c.URL+folder, c.URL+folder+"-validated")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var sum uint64
	for r := range slices.Chunk(records, 100) {
		sum += uint64(crc32.ChecksumIEEE(r))
	}
	got, err := c.Shell(t.Context(), "-cat", folder+"-validated/part-*")
	if want := fmt.Sprintf("checksum\t%x\n", sum); err != nil || string(got) != want {
		t.Errorf("TeraValidate says %q, want %q, %v", got, want, err)
	}
}
