package services

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestHDFS(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var c *HDFSCluster
	t.Run("cluster", func(t *testing.T) {
		c = HDFS(t, HDFSOptions{DataNodes: 2})
		if out, err := c.Shell(t.Context(), "-ls", "/"); err != nil || strings.TrimSpace(string(out)) != "" {
			t.Errorf("Hadoop's shell sees %q in an empty cluster, %v", out, err)
		}
		c.Kill("datanode-2")
		c.AwaitLive(t, "datanode-2")
		c.Start(t, "datanode-2")
		c.AwaitLive(t)
	})
	if c == nil {
		t.SkipNow()
	}
	if _, err := get(t.Context(), http.MethodGet, "http://"+c.HTTP[0]+"/jmx", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after its test: %v", err)
	}
}
