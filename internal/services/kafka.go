package services

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kafkaVersion is the newest release of which the registry has the broker and the
// console tools alike.
const kafkaVersion = "4.3.1"

// KafkaOptions say what kind of cluster is wanted.
type KafkaOptions struct {
	Brokers int  // 1 (the default) or 3: three replicas then, of which two suffice
	Secure  bool // one more listener: SASL over TLS
	// Properties are lines for server.properties.
	Properties []string
}

// A KafkaCluster is a running Apache Kafka cluster in KRaft mode, each process
// broker and controller at once.
type KafkaCluster struct {
	Bootstrap string // host:port[,host:port]
	// SecureBootstrap is the listener that wants SASL (PLAIN, SCRAM-SHA-256 or -512)
	// over TLS; "" without KafkaOptions.Secure.
	SecureBootstrap string
	User, Password  string
	CA              string // file with the authority's certificate, PEM

	t       testing.TB // for whose length it runs
	dir     string
	lib     string
	brokers []*kafkaBroker
}

type kafkaBroker struct {
	id         int
	client     int // port
	secure     int
	controller int
	properties string // file
	process    *process
}

// Kafka starts a cluster for the length of a test.
func Kafka(t testing.TB, o KafkaOptions) *KafkaCluster {
	t.Helper()
	notShort(t)
	if _, err := exec.LookPath("java"); err != nil {
		unless(t, fmt.Errorf("%w (Debian: default-jre-headless)", err))
	}
	lib, err := maven(t.Context(), "kafka-"+kafkaVersion, "org.apache.kafka:kafka_2.13:"+kafkaVersion,
		"org.apache.kafka:kafka-tools:"+kafkaVersion, "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
	unless(t, err)
	var last error
	for range 3 { // another process may take a port first
		c := &KafkaCluster{t: t, dir: t.TempDir(), lib: lib, User: "tester", Password: "tester-secret"}
		if last = c.run(o); last == nil {
			return c
		}
		for i := range c.brokers {
			c.Kill(i)
		}
	}
	t.Fatal(last)
	return nil
}

func (c *KafkaCluster) run(o KafkaOptions) error {
	t := c.t
	if o.Secure {
		if err := c.writeCertificates(); err != nil {
			return err
		}
	}
	if err := c.writeLogging(); err != nil {
		return err
	}
	var voters, plain, secure []string
	for id := 1; id <= max(1, o.Brokers); id++ {
		b := &kafkaBroker{id: id, properties: filepath.Join(c.dir, fmt.Sprintf("broker-%d.properties", id))}
		for _, port := range []*int{&b.client, &b.secure, &b.controller} {
			var err error
			if *port, err = freePort(); err != nil {
				return err
			}
		}
		c.brokers = append(c.brokers, b)
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", id, b.controller))
		plain = append(plain, fmt.Sprintf("127.0.0.1:%d", b.client))
		secure = append(secure, fmt.Sprintf("127.0.0.1:%d", b.secure))
	}
	c.Bootstrap = strings.Join(plain, ",")
	if o.Secure {
		c.SecureBootstrap = strings.Join(secure, ",")
	}
	var random [16]byte
	_, _ = rand.Read(random[:])
	cluster := base64.RawURLEncoding.EncodeToString(random[:])
	for _, b := range c.brokers {
		text := c.serverProperties(b, voters, o)
		if err := os.WriteFile(b.properties, []byte(text), 0o666); err != nil {
			return err
		}
		args := []string{"format", "-t", cluster, "-c", b.properties}
		if o.Secure {
			for _, hash := range []string{"256", "512"} {
				args = append(args, "--add-scram", fmt.Sprintf("SCRAM-SHA-%s=[name=%s,password=%s]", hash, c.User, c.Password))
			}
		}
		if out, err := c.Tool(t.Context(), "storage", "", args...); err != nil {
			return fmt.Errorf("formatting the storage of broker %d: %w\n%s", b.id, err, out)
		}
		if err := c.start(b); err != nil {
			return err
		}
	}
	for _, b := range c.brokers {
		if err := b.process.ready(t.Context(), b.listens); err != nil {
			return err
		}
	}
	// Ready means that a topic can be made on all brokers.
	return c.brokers[0].process.ready(t.Context(), func(ctx context.Context) error {
		out, err := c.Tool(ctx, "topics", "", "--bootstrap-server", c.Bootstrap, "--create", "--if-not-exists",
			"--topic", "ready", "--replication-factor", strconv.Itoa(len(c.brokers)))
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func (b *kafkaBroker) listens(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", b.client))
	if err == nil {
		conn.Close()
	}
	return err
}

func (c *KafkaCluster) start(b *kafkaBroker) (err error) {
	b.process, err = start(c.t, c.dir, nil, "java", "-Xmx512m", "-Xms256m", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile="+filepath.Join(c.dir, "log4j2.xml"), "-cp", c.lib+"/*", "kafka.Kafka", b.properties)
	if err == nil {
		// What it would tidy up goes with the folder.
		c.t.Cleanup(func() { b.process.kill() })
	}
	return err
}

// Kill ends broker i (from 0) at once, as a power failure would.
func (c *KafkaCluster) Kill(i int) {
	if p := c.brokers[i].process; p != nil {
		p.kill()
	}
}

// Alive reports whether broker i runs, or is paused.
func (c *KafkaCluster) Alive(i int) bool {
	select {
	case <-c.brokers[i].process.ended:
		return false
	default:
		return true
	}
}

// Log is the end of what broker i has printed, for messages of failed tests.
func (c *KafkaCluster) Log(i int) string { return string(c.brokers[i].process.log.end()) }

// Pause stops broker i without ending it, until Resume.
func (c *KafkaCluster) Pause(i int) error { return c.signal(i, syscall.SIGSTOP) }

// Resume lets a paused broker go on.
func (c *KafkaCluster) Resume(i int) error { return c.signal(i, syscall.SIGCONT) }

func (c *KafkaCluster) signal(i int, s syscall.Signal) error {
	return c.brokers[i].process.cmd.Process.Signal(s)
}

// Start starts a killed broker again, with its data and ports, and waits until it
// listens. It runs as long as the cluster.
func (c *KafkaCluster) Start(t testing.TB, i int) {
	t.Helper()
	b := c.brokers[i]
	if err := c.start(b); err != nil {
		t.Fatal(err)
	}
	if err := b.process.ready(t.Context(), b.listens); err != nil {
		t.Fatal(err)
	}
}

// Broker is the index of the broker that clients know by an ID.
func (c *KafkaCluster) Broker(id int32) int { return int(id) - 1 }

var kafkaTools = map[string]string{
	"topics":           "org.apache.kafka.tools.TopicCommand",
	"console-producer": "org.apache.kafka.tools.ConsoleProducer",
	"console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"transactions":     "org.apache.kafka.tools.TransactionsCommand",
	"configs":          "org.apache.kafka.tools.ConfigCommand",
	"delete-records":   "org.apache.kafka.tools.DeleteRecordsCommand",
	"storage":          "kafka.tools.StorageTool",
	// Which measure themselves.
	"producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
	"consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
}

// Tool runs one of Kafka's own console tools, by its name without "kafka-", and
// gives what it printed. After an error, the end of what it complained of.
func (c *KafkaCluster) Tool(ctx context.Context, name, stdin string, args ...string) (string, error) {
	class, ok := kafkaTools[name]
	if !ok {
		return "", fmt.Errorf("kafka-%s is not known here", name)
	}
	return c.java(ctx, "kafka-"+name, class, stdin, args...)
}

// Program runs a program of one Java file with Kafka's own client and gives what it
// printed.
func (c *KafkaCluster) Program(ctx context.Context, source string, args ...string) (string, error) {
	return c.java(ctx, filepath.Base(source), source, "", args...)
}

// java runs a class, or a source file, under the name that errors tell.
func (c *KafkaCluster) java(ctx context.Context, name, class, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "java", append([]string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
		"-Dlog4j2.configurationFile=" + filepath.Join(c.dir, "log4j2-tools.xml"), "-cp", c.lib + "/*", class}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	tie(cmd)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", name, err, tail(exit.Stderr, 2000))
	}
	return string(out), err
}

func (c *KafkaCluster) writeLogging() error {
	text := func(level, target string) []byte {
		return []byte(`<Configuration><Appenders><Console name="out" target="` + target + `"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="` + level + `"><AppenderRef ref="out"/></Root></Loggers></Configuration>
`)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(c.dir, "log4j2.xml"), text("INFO", "SYSTEM_OUT"), 0o666),
		os.WriteFile(filepath.Join(c.dir, "log4j2-tools.xml"), text("WARN", "SYSTEM_ERR"), 0o666))
}

func (c *KafkaCluster) serverProperties(b *kafkaBroker, voters []string, o KafkaOptions) string {
	replicas, enough := 1, 1
	if len(c.brokers) >= 3 || o.Brokers >= 3 {
		replicas, enough = 3, 2
	}
	listeners := fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", b.client)
	if o.Secure {
		listeners += fmt.Sprintf(",SASL_SSL://127.0.0.1:%d", b.secure)
	}
	lines := []string{
		"process.roles=broker,controller",
		fmt.Sprintf("node.id=%d", b.id),
		fmt.Sprintf("broker.rack=rack-%d", b.id),
		"replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
		"controller.quorum.voters=" + strings.Join(voters, ","),
		"listeners=" + listeners + fmt.Sprintf(",CONTROLLER://127.0.0.1:%d", b.controller),
		"advertised.listeners=" + listeners,
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
		"inter.broker.listener.name=PLAINTEXT",
		"controller.listener.names=CONTROLLER",
		"log.dirs=" + filepath.Join(c.dir, fmt.Sprintf("data-%d", b.id)),
		fmt.Sprintf("default.replication.factor=%d", replicas),
		fmt.Sprintf("min.insync.replicas=%d", enough),
		fmt.Sprintf("offsets.topic.replication.factor=%d", replicas),
		"offsets.topic.num.partitions=4",
		fmt.Sprintf("transaction.state.log.replication.factor=%d", replicas),
		fmt.Sprintf("transaction.state.log.min.isr=%d", enough),
		"transaction.state.log.num.partitions=4",
		fmt.Sprintf("share.coordinator.state.topic.replication.factor=%d", replicas),
		fmt.Sprintf("share.coordinator.state.topic.min.isr=%d", enough),
		"auto.create.topics.enable=false",
		"group.initial.rebalance.delay.ms=0",
		// A dead broker or an abandoned transaction is noticed in seconds, and the
		// cleaner does not wait, so that tests of failures are short.
		"broker.heartbeat.interval.ms=500",
		"broker.session.timeout.ms=3000",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
		"log.cleaner.backoff.ms=200",
		"log.cleaner.threads=1",
		"num.io.threads=4",
		"num.network.threads=2",
		"log.retention.ms=-1",
	}
	if o.Secure {
		lines = append(lines,
			"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
			"listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
			"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
			fmt.Sprintf("listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%q;", c.User, c.Password),
			"ssl.keystore.type=PEM",
			"ssl.keystore.location="+filepath.Join(c.dir, "server.pem"))
	}
	return strings.Join(append(lines, o.Properties...), "\n") + "\n"
}

// Version is the release.
func (c *KafkaCluster) Version() string { return kafkaVersion }
