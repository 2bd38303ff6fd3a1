package services

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestKafka(t *testing.T) {
	var c *KafkaCluster
	t.Run("one", func(t *testing.T) {
		c = Kafka(t, KafkaOptions{})
		if _, err := c.Tool(t.Context(), "console-producer", "a\nb\n", "--bootstrap-server", c.Bootstrap, "--topic", "ready", "--command-property", "acks=all"); err != nil {
			t.Fatal(err)
		}
		out, err := c.Tool(t.Context(), "console-consumer", "", "--bootstrap-server", c.Bootstrap, "--topic", "ready", "--from-beginning", "--max-messages", "2")
		if err != nil || strings.Join(strings.Fields(out), " ") != "a b" {
			t.Errorf("read %q, %v", out, err)
		}
	})
	if c == nil {
		return
	}
	if conn, err := net.DialTimeout("tcp", c.Bootstrap, time.Second); err == nil {
		conn.Close()
		t.Error("the broker runs after its test")
	}
}
