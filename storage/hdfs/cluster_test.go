package hdfs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	"golang.org/x/sync/errgroup"
)

func testHosts(t *testing.T, c *services.HDFSCluster) {
	d := on(t, c)
	data := noise(1, 5<<20+1000) // six blocks
	put(t, d, "/hosts/file", data)
	put(t, d, "/hosts/empty", nil)
	// A write ends with the first replica; -w waits for the second of each block.
	if out, err := c.Shell(t.Context(), "-setrep", "-w", "2", "/hosts/file"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	blocks, err := storage.Blocks(t.Context(), d, "/hosts/file")
	if err != nil || len(blocks) != 6 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	// Hadoop's own account of where they are.
	out, err := c.Tool(t.Context(), "org.apache.hadoop.hdfs.tools.DFSck", "/hosts/file", "-files", "-blocks", "-locations", "-racks")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "blk_") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 6 {
		t.Fatalf("fsck tells of %d blocks:\n%s", len(lines), out)
	}
	for i, line := range lines {
		got := blocks[i]
		var want, racks []string
		for j, host := range c.DataNodes {
			if rack := []string{"/rack1", "/rack2"}[j%2]; strings.Contains(line, rack+"/"+host+":") {
				want = append(want, host)
				if !slices.Contains(racks, rack) {
					racks = append(racks, rack)
				}
			}
		}
		slices.Sort(racks)
		slices.Sort(got.Hosts)
		slices.Sort(got.Racks)
		if len(want) != 2 || !slices.Equal(got.Hosts, want) || !slices.Equal(got.Racks, racks) || got.Offset != int64(i)<<20 || got.Size != min(1<<20, int64(len(data))-got.Offset) {
			t.Errorf("block %d: Blocks gives %+v, fsck %s", i, got, line)
		}
	}
	if got, err := storage.Blocks(t.Context(), d, "/hosts/empty"); err != nil || len(got) != 0 {
		t.Errorf("blocks of an empty file: %+v, %v", got, err)
	}
	_, err = storage.Blocks(t.Context(), d, "/hosts/none")
	is(t, "Blocks of what is not there", err, storage.ErrNotExist)
}

func testShell(t *testing.T, c *services.HDFSCluster) {
	d := on(t, c)
	data := noise(2, 3<<20+7)
	put(t, d, "/shell/größe 100%/ours", data)
	if out, err := c.Shell(t.Context(), "-cat", "/shell/größe 100%/ours"); err != nil || !bytes.Equal(out, data) {
		t.Errorf("Hadoop's shell reads %d bytes, want %d, %v", len(out), len(data), err)
	}
	local := filepath.Join(t.TempDir(), "theirs")
	if err := os.WriteFile(local, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Shell(t.Context(), "-put", local, "/shell/theirs"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := holds(t.Context(), d, "/shell/theirs", data); err != nil {
		t.Error(err)
	}
	out, err := c.Shell(t.Context(), "-ls", "-R", "/shell")
	if err != nil || strings.Contains(string(out), hidden) || strings.Count(string(out), "\n") != 3 {
		t.Errorf("Hadoop's shell lists, %v:\n%s", err, out)
	}
}

func testRefused(t *testing.T, c *services.HDFSCluster) {
	d := on(t, c)
	local := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(local, noise(3, 1000), 0o666); err != nil {
		t.Fatal(err)
	}
	const ec, crypto, shell = "org.apache.hadoop.hdfs.tools.ECAdmin", "org.apache.hadoop.hdfs.tools.CryptoAdmin", "org.apache.hadoop.fs.FsShell"
	for _, command := range [][]string{
		{shell, "-mkdir", "-p", "/refused/ec/below", "/refused/zone"},
		{ec, "-enablePolicy", "-policy", "XOR-2-1-1024k"},
		{ec, "-setPolicy", "-path", "/refused/ec", "-policy", "XOR-2-1-1024k"},
		{crypto, "-createZone", "-keyName", "secret", "-path", "/refused/zone"},
		{shell, "-put", local, "/refused/ec/file"},
		{shell, "-put", local, "/refused/zone/file"},
	} {
		if out, err := c.Tool(t.Context(), command[0], command[1:]...); err != nil {
			t.Fatalf("%q: %v %s", command, err, out)
		}
	}
	for folder, why := range map[string]error{"/refused/ec": ErrErasureCoded, "/refused/zone": ErrEncrypted} {
		_, err := d.Open(t.Context(), folder+"/file")
		is(t, "Open in "+folder, err, why)
		for _, name := range []string{"/new", "/file", "/below/new", "/a/b/c/new"} {
			_, err = d.Create(t.Context(), folder+name)
			is(t, "Create of "+folder+name, err, why)
		}
		is(t, "CreateIfAbsent in "+folder, d.CreateIfAbsent(t.Context(), folder+"/new", nil), why)
		if info, err := d.Stat(t.Context(), folder+"/file"); err != nil || info.Size != 1000 {
			t.Errorf("Stat: %+v, %v", info, err)
		}
	}
	put(t, d, "/refused/beside", []byte("x"))
	if out, err := c.Shell(t.Context(), "-ls", "-R", "/refused"); err != nil || strings.Contains(string(out), hidden) {
		t.Errorf("left behind, %v:\n%s", err, out)
	}
}

// testReplaced reads on in a file that is replaced meanwhile: the bytes of the old
// one or an error, never those of the new one.
func testReplaced(t *testing.T, c *services.HDFSCluster) {
	d := on(t, c)
	old, young := noise(4, 3<<20), noise(5, 3<<20)
	put(t, d, "/replaced", old)
	f, err := d.Open(t.Context(), "/replaced")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unread, err := d.Open(t.Context(), "/replaced")
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	p := make([]byte, 1000)
	if _, err := f.ReadAt(p, 0); err != nil || !bytes.Equal(p, old[:1000]) {
		t.Fatal("first bytes", err)
	}
	put(t, d, "/replaced", young)
	if _, err := f.ReadAt(p, 1000); err == nil && !bytes.Equal(p, old[1000:2000]) {
		t.Error("read on into another file")
	}
	if _, err := unread.ReadAt(p, 0); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("first read after the file was replaced: %v", err)
	}
	if err := holds(t.Context(), d, "/replaced", young); err != nil {
		t.Error(err)
	}
}

// replicas are the files that hold a DataNode's replicas and whose bytes begin
// like data.
func replicas(t *testing.T, c *services.HDFSCluster, data []byte) []string {
	t.Helper()
	var all []string
	for _, node := range []string{"datanode-1", "datanode-2", "datanode-3"} {
		err := filepath.WalkDir(c.DataDir(node), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasPrefix(e.Name(), "blk_") || strings.HasSuffix(name, ".meta") {
				return err
			}
			got, err := os.ReadFile(name)
			if err == nil && bytes.Equal(got, data) {
				all = append(all, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func flip(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func testCorrupt(t *testing.T, c *services.HDFSCluster) {
	d := on(t, c)
	data := noise(6, 300_000)
	put(t, d, "/corrupt/file", data)
	files := replicas(t, c, data)
	if len(files) != 2 {
		t.Fatalf("%d replicas: %q", len(files), files)
	}
	flip(t, files[0], 150_000)
	for range 10 { // in no order that is known, the NameNode names the replicas
		if err := holds(t.Context(), d, "/corrupt/file", data); err != nil {
			t.Fatalf("one replica is corrupt: %v", err)
		}
	}
	flip(t, files[1], 200_000)
	if err := holds(t.Context(), d, "/corrupt/file", data); err != nil {
		t.Errorf("each replica is corrupt at another place: %v", err)
	}
	flip(t, files[1], 150_001)
	f, err := d.Open(t.Context(), "/corrupt/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, len(data))
	n, err := f.ReadAt(p, 0)
	is(t, "both replicas are corrupt", err, errChecksum)
	if n > 150_000 || !bytes.Equal(p[:n], data[:n]) {
		t.Errorf("%d bytes that are not those written", n)
	}
	if n, err := f.ReadAt(p[:1000], 290_000); n != 1000 || err != nil || !bytes.Equal(p[:1000], data[290_000:291_000]) {
		t.Errorf("read of a part that is whole: %d, %v", n, err)
	}
}

// testReadDeaths stops a node in mid-read, each in turn, by pausing it and by
// killing it: each file is read on, by several goroutines.
func testReadDeaths(t *testing.T, c *services.HDFSCluster) {
	d := on(t, c)
	data := noise(7, 12<<20)
	put(t, d, "/deaths/read", data)
	for i, node := range []string{"datanode-1", "datanode-2", "datanode-3"} {
		f, err := d.Open(t.Context(), "/deaths/read")
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1<<20+500_000)
		if _, err := f.ReadAt(p, 0); err != nil || !bytes.Equal(p, data[:len(p)]) {
			t.Fatal("first bytes", err)
		}
		killed := i == 1
		if killed {
			c.Kill(node)
		} else if err := c.Pause(node); err != nil {
			t.Fatal(err)
		}
		var g errgroup.Group
		for _, off := range []int{len(p), 3 << 20, 6<<20 + 1, 11 << 20} {
			g.Go(func() error { return rest(f, int64(off), data) })
		}
		err = g.Wait()
		if killed {
			c.Start(t, node)
		} else if err := c.Resume(node); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Errorf("%s stopped: %v", node, err)
		}
		f.Close()
		c.AwaitLive(t)
	}
}

// underway is an attempt of which some bytes are written. Nodes that have just come
// back may not be of use at once, so it may take more than one.
func underway(t *testing.T, d *FS, name string, data []byte) storage.Object {
	t.Helper()
	var last error
	for range 5 {
		o, err := d.Create(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if last = writeAll(o, data); last == nil {
			return o
		}
		is(t, "write", last, storage.ErrTransient)
		if err := o.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Fatal(last)
	return nil
}

// testWriteDeaths stops a node that is being written to, by killing it and by
// pausing it.
func testWriteDeaths(t *testing.T, c *services.HDFSCluster) {
	d := on(t, c)
	data := noise(8, 8<<20)
	for _, how := range []string{"kill", "pause"} {
		name := "/deaths/write/" + how
		o := underway(t, d, name, data[:3<<20+500_000])
		blocks, err := d.locate(t.Context(), o.(*object).temp)
		if err != nil || len(blocks) < 4 {
			t.Fatalf("%d blocks, %v", len(blocks), err)
		}
		last := blocks[len(blocks)-1].Hosts
		node := "datanode-" + string(last[0][len(last[0])-1]-1) // datanode-1 is at 127.0.0.2
		t.Logf("%s of %s, in %q", how, node, last)
		if how == "kill" {
			c.Kill(node)
		} else if err := c.Pause(node); err != nil {
			t.Fatal(err)
		}
		err = writeAll(o, data[3<<20+500_000:])
		if err == nil {
			_, err = o.Seal(t.Context())
		}
		is(t, how+" of a node that is written to", err, storage.ErrTransient)
		if _, err := o.Write([]byte("x")); err == nil {
			t.Error("an attempt goes on after it failed")
		}
		if s, err := o.Seal(t.Context()); err == nil {
			t.Errorf("an attempt is sealed after it failed: %+v", s)
		}
		if err := o.Abort(t.Context()); err != nil {
			t.Error(err)
		}
		// Before the NameNode knows: little is written again until it is written.
		for range 5 {
			put(t, d, name+"/small", data[:50_000])
			if err := holds(t.Context(), d, name+"/small", data[:50_000]); err != nil {
				t.Error(err)
			}
		}
		if err := d.CreateIfAbsent(t.Context(), name+"/manifest", data[:500]); err != nil {
			t.Error(err)
		}
		c.AwaitLive(t, node) // now it knows
		put(t, d, name+"/large", data)
		if err := holds(t.Context(), d, name+"/large", data); err != nil {
			t.Error(err)
		}
		if how == "kill" {
			c.Start(t, node)
		} else if err := c.Resume(node); err != nil {
			t.Fatal(err)
		}
		c.AwaitLive(t)
		var names []string
		for info, err := range d.List(t.Context(), name) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, info.Name)
		}
		if want := []string{name + "/large", name + "/manifest", name + "/small"}; !slices.Equal(names, want) {
			t.Errorf("List gives %q, want %q", names, want)
		}
	}
	if out, err := c.Shell(t.Context(), "-ls", "-R", "/deaths"); err != nil || strings.Contains(string(out), hidden) {
		t.Errorf("left behind, %v:\n%s", err, out)
	}
}
