package hdfs

import (
	"errors"
	"fmt"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/storagetest"
	"golang.org/x/sync/errgroup"
)

// TestStandby runs a job's sequence while the active NameNode changes, once in
// order and once because it is killed. Data connections are encrypted, which also
// wants block tokens.
func TestStandby(t *testing.T) {
	services.Deaths(t)
	c := services.HDFS(t, services.HDFSOptions{HA: true, DataNodes: 2, Properties: map[string]string{
		"dfs.block.access.token.enable":           "true",
		"dfs.encrypt.data.transfer":               "true",
		"dfs.encrypt.data.transfer.cipher.suites": "AES/CTR/NoPadding",
	}})
	d := on(t, c)
	t.Run("protected", func(t *testing.T) {
		if cn, err := d.reading.get(); err != nil || !cn.protected {
			t.Fatalf("data connections are not protected: %v", err)
		}
		for i, check := range storagetest.Checks()[:8] { // reads and writes of all kinds
			if err := check.Run(t.Context(), d, fmt.Sprintf("/protected/%d", i)); err != nil {
				t.Errorf("%s: %v", check.Name, err)
			}
		}
	})
	for _, how := range []string{"in order", "by death"} {
		t.Run(how, func(t *testing.T) { testFailover(t, c, d, how == "by death") })
	}
}

func testFailover(t *testing.T, c *services.HDFSCluster, d *FS, death bool) {
	data := noise(9, 3<<20)
	folder := map[bool]string{false: "/ordered", true: "/death"}[death]
	name := func(i int) string { return fmt.Sprintf("%s/out/part-%d", folder, i) }
	put(t, d, folder+"/in", data)
	in, err := d.Open(t.Context(), folder+"/in")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	waiting, err := attemptOf(storage.WithOwner(t.Context(), "job"), d, name(0), data)
	if err != nil {
		t.Fatal(err)
	}
	under, err := d.Create(storage.WithOwner(t.Context(), "job"), name(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeAll(under, data[:2<<20]); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadAt(make([]byte, 1000), 0); err != nil {
		t.Fatal(err)
	}

	// The job goes on while the change is under way.
	var g errgroup.Group
	from, to := "nn1", "nn2"
	if death {
		from, to = to, from
		c.Kill("namenode-2")
	}
	g.Go(func() error { return rest(in, 1000, data) })
	g.Go(func() error { return d.Publish(t.Context(), waiting) })
	for i := range 4 {
		g.Go(func() error {
			err := d.CreateIfAbsent(t.Context(), folder+"/manifest", fmt.Append(nil, i))
			if errors.Is(err, storage.ErrExist) {
				return nil
			}
			return err
		})
	}
	c.Failover(t, from, to)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}

	// What was under way goes on, or is written again.
	err = writeAll(under, data[2<<20:])
	var s storage.Sealed
	if err == nil {
		s, err = under.Seal(t.Context())
	}
	if err != nil {
		is(t, "an attempt during a fail-over", err, storage.ErrTransient)
		if err := under.Abort(t.Context()); err != nil {
			t.Error(err)
		}
		if s, err = attemptOf(t.Context(), d, name(1), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Publish(t.Context(), s), d.Publish(t.Context(), waiting), d.CreateIfAbsent(t.Context(), folder+"/out/_SUCCESS", nil)); err != nil {
		t.Error(err)
	}
	is(t, "the manifest again", d.CreateIfAbsent(t.Context(), folder+"/manifest", nil), storage.ErrExist)
	for i := range 2 {
		if err := holds(t.Context(), d, name(i), data); err != nil {
			t.Error(err)
		}
	}
	if err := d.Sweep(t.Context(), folder+"/out", "job"); err != nil {
		t.Error(err)
	}
}
