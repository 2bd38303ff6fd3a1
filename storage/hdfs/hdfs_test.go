package hdfs

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/storagetest"
)

// on gives the driver for a cluster.
func on(t *testing.T, c *services.HDFSCluster) *FS {
	t.Helper()
	t.Setenv("HADOOP_CONF_DIR", c.ConfDir)
	t.Setenv("HADOOP_USER_NAME", c.User)
	fs, _, err := storage.Resolve(t.Context(), "hdfs:///")
	if err != nil {
		t.Fatal(err)
	}
	return fs.(*FS)
}

// TestCluster runs everything that needs a cluster without a standby. Servers
// take long to start, so all share one; what breaks a node comes last and mends it.
func TestCluster(t *testing.T) {
	c := services.HDFS(t, services.HDFSOptions{Keys: []string{"secret"}, Properties: map[string]string{
		"dfs.block.scanner.volume.bytes.per.second": "0", // or it mends what the test of corrupt replicas breaks
	}})
	for _, sub := range []struct {
		name string
		run  func(*testing.T, *services.HDFSCluster)
	}{
		{"suite", testSuite},
		{"hosts", testHosts},
		{"shell", testShell},
		{"refused", testRefused},
		{"replaced", testReplaced},
		{"corrupt", testCorrupt},
		{"read deaths", deadly(testReadDeaths)},
		{"write deaths", deadly(testWriteDeaths)},
	} {
		t.Run(sub.name, func(t *testing.T) { sub.run(t, c) })
	}
}

// deadly is a test in which nodes die.
func deadly(run func(*testing.T, *services.HDFSCluster)) func(*testing.T, *services.HDFSCluster) {
	return func(t *testing.T, c *services.HDFSCluster) {
		services.Deaths(t)
		run(t, c)
	}
}

var suites atomic.Int32

func testSuite(t *testing.T, c *services.HDFSCluster) {
	storagetest.Run(t, func(t *testing.T) (storage.Filesystem, string) {
		return on(t, c), fmt.Sprintf("/suite/%d/deep/er", suites.Add(1))
	}, storagetest.Has[storage.ConditionalCreator](), storagetest.Has[storage.Stater](), storagetest.Has[storage.Discarder](),
		storagetest.Has[storage.Sweeper](), storagetest.Has[storage.AttemptLister](), storagetest.Has[storage.FolderLister](), storagetest.Has[storage.BlockLocator]())
}
