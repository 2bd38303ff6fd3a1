package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/services"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A mortal is a cluster whose processes are killed and started again.
type mortal struct {
	t           *testing.T // whose end is theirs
	addr        string
	program     string
	coordinator []string // arguments
	workers     [][]string
	processes   map[string]*daemon
}

func startMortal(t *testing.T, workers int) *mortal {
	t.Helper()
	m := &mortal{t: t, addr: freeAddress(t), program: filepath.Join(bin, "divisi"), processes: map[string]*daemon{}}
	m.coordinator = []string{"coordinator", "--listen", m.addr, "--http", "", "--state", t.TempDir()}
	m.processes["coordinator"] = mustLaunch(t, m.program, m.coordinator...)
	for i := range workers {
		id := fmt.Sprintf("worker-%d", i+1)
		m.workers = append(m.workers, []string{"worker", "--coordinator", m.addr, "--dir", t.TempDir(), "--slots", "2", "--id", id, "--memory", "256MiB"})
		m.processes[id] = mustLaunch(t, m.program, m.workers[i]...)
	}
	return m
}

// kill ends a process and starts it again, as a supervisor would.
func (m *mortal) kill(t *testing.T, name string) {
	t.Helper()
	d := m.processes[name]
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.ended
	args := m.coordinator
	for i, w := range m.workers {
		if name == fmt.Sprintf("worker-%d", i+1) {
			args = w
		}
	}
	m.processes[name] = mustLaunch(m.t, m.program, args...)
}

// TestKafkaDeaths counts words from a topic to a topic again and again, while at random
// moments a worker, the coordinator or one of three brokers is killed: a reader of
// committed records finds every result once, and nothing is left open.
func TestKafkaDeaths(t *testing.T) {
	services.Deaths(t)
	runs, err := strconv.Atoi(chaosRuns(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	first, err := strconv.ParseUint(cmp.Or(os.Getenv("DIVISI_CHAOS_SEED"), "1"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	b, m, program := startBrokers(t, 3), startMortal(t, 3), example(t, "wordcount")
	want := b.input(t, "words")
	b.whole(t, "words")
	begin := func(out string) string {
		t.Helper()
		b.topic(t, out, nil)
		return submitProgram(t, m.addr, program, b.uri("words"), b.uri(out))
	}
	var peace time.Duration
	for _, out := range []string{"warm", "peace"} {
		id := begin(out)
		began := time.Now()
		peace = end(finish(t, m.addr, id)).Sub(began)
	}
	b.holds(t, "peace", want)
	t.Logf("in peace the job takes %s", peace.Round(time.Millisecond))
	within := 0 // deaths before the job's end
	for i := range runs {
		seed := first + uint64(i)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 20))
			at := time.Duration(r.Float64() * float64(peace))
			victim := []string{fmt.Sprintf("worker-%d", 1+r.IntN(3)), "coordinator", fmt.Sprintf("broker-%d", 1+r.IntN(3))}[seed%3]
			out := fmt.Sprintf("out-%d", seed)
			id := begin(out)
			<-time.After(at)
			broker := -1
			if n, ok := strings.CutPrefix(victim, "broker-"); ok {
				id, _ := strconv.Atoi(n)
				broker = b.Broker(int32(id))
				b.Kill(broker)
			} else {
				m.kill(t, victim)
			}
			killed := time.Now()
			ended := end(finish(t, m.addr, id))
			if ended.After(killed) {
				within++
			}
			t.Logf("%s killed %s after its begin, the job ended %s after that", victim, at.Round(time.Millisecond), ended.Sub(killed).Round(time.Millisecond))
			if broker >= 0 {
				b.Start(t, broker)
				b.whole(t, "words", out)
			}
			b.holds(t, out, want)
		})
	}
	t.Logf("%d of %d deaths came before the job's end", within, runs)
	if within == 0 {
		t.Error("no death came before a job's end, so the runs show nothing")
	}
}

// end is when a job's last event was.
func end(events []*pb.Event) time.Time { return time.Unix(0, events[len(events)-1].GetUnixNanos()) }

// TestKafka counts words from a topic to a topic, and lets jobs that write one end in
// other ways: nothing of them is seen, and no transaction is left open.
func TestKafka(t *testing.T) {
	services.Clusters(t)
	b, m := startBrokers(t, 1), startMortal(t, 2)
	t.Run("counts", func(t *testing.T) {
		want := b.input(t, "words")
		b.topic(t, "counts", nil)
		ranOnce(t, finish(t, m.addr, submitProgram(t, m.addr, example(t, "wordcount"), b.uri("words"), b.uri("counts"))))
		b.holds(t, "counts", want)
	})
	text, _ := someText(2, 12_000_000, 2000) // some batches of lines in each task, and a wait in each
	dir := t.TempDir()
	for i, f := range text {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%d", i)), f, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writes := func(t *testing.T) { // a job that is in the middle of writing
		t.Helper()
		eventually(t, "a transaction is open", func() bool { return len(b.open(t)) > 0 })
	}
	// ends waits for a job's end and that all is cleared up.
	ends := func(t *testing.T, id string) *pb.JobStatus {
		t.Helper()
		c, err := client.DialPatiently(t.Context(), m.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		st, err := c.Wait(t.Context(), id)
		if err != nil || !st.Cleaned {
			t.Fatalf("%v, %v", st, err)
		}
		return st
	}
	t.Run("cancelled", func(t *testing.T) {
		b.topic(t, "cancelled", nil)
		id := submitJob(t, m.addr, "--copy", "--slow", "slow", dir, b.uri("cancelled"))
		writes(t)
		if out, err := exec.CommandContext(t.Context(), m.program, "cancel", "--cluster", m.addr, id).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if st := ends(t, id); st.State != pb.JobState_JOB_STATE_CANCELED {
			t.Errorf("it is %s", st.State)
		}
		b.holds(t, "cancelled", nil)
	})
	t.Run("failed", func(t *testing.T) {
		b.topic(t, "failed", nil)
		bad := t.TempDir()
		if err := os.WriteFile(filepath.Join(bad, "file"), append(text[0][:len(text[0]):len(text[0])], "the end of the process\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		id := submitJob(t, m.addr, "--copy", "--die", "process", bad, b.uri("failed"))
		if st := ends(t, id); st.State != pb.JobState_JOB_STATE_FAILED || st.Retries == 0 {
			t.Errorf("it is %s after %d retries: %s", st.State, st.Retries, st.Error)
		}
		b.holds(t, "failed", nil)
	})
	// A job that runs in its own process has nobody who would clear up after SIGKILL: what
	// it leaves is aborted when its time is over.
	for how, signal := range map[string]syscall.Signal{"interrupted": syscall.SIGINT, "killed": syscall.SIGKILL} {
		t.Run("alone, "+how, func(t *testing.T) {
			b.topic(t, how, nil)
			config := filepath.Join(t.TempDir(), "client.properties")
			if err := os.WriteFile(config, []byte("transaction.timeout.ms=5000\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			job := exec.CommandContext(t.Context(), filepath.Join(bin, "job"), "--progress", "none", "--copy", "--slow", "slow", dir, b.uri(how)+"?config="+config)
			var said lockedBuffer
			job.Stdout, job.Stderr = &said, &said
			if err := job.Start(); err != nil {
				t.Fatal(err)
			}
			writes(t)
			if err := job.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := job.Wait(); err == nil {
				t.Fatalf("it ended well: %s", &said)
			}
			if signal == syscall.SIGKILL {
				eventually(t, "the brokers abort what is left", func() bool { return len(b.open(t)) == 0 })
			}
			b.holds(t, how, nil)
		})
	}
	out, err := b.Tool(t.Context(), "transactions", "", "--bootstrap-server", b.Bootstrap, "list")
	if err != nil || strings.Contains(out, "Ongoing") || !strings.Contains(out, "CompleteAbort") {
		t.Errorf("kafka-transactions lists %s, %v", out, err)
	}
}
