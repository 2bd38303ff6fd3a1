package hdfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/divisi-data/divisi/storage"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// configure writes a configuration folder, lines of "file name=value", and points
// the environment to it.
func configure(t *testing.T, lines ...string) {
	t.Helper()
	dir := t.TempDir()
	text := map[string]string{"core-site.xml": ""}
	for _, line := range lines {
		file, property, _ := strings.Cut(line, " ")
		name, value, _ := strings.Cut(property, "=")
		text[file] += "<property><name>" + name + "</name><value>" + value + "</value></property>\n"
	}
	for file, properties := range text {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("<configuration>"+properties+"</configuration>"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HADOOP_CONF_DIR", dir)
	t.Setenv("HADOOP_USER_NAME", "ann")
}

var twoServices = []string{
	"core-site.xml fs.defaultFS=hdfs://one/",
	"hdfs-site.xml dfs.nameservices=one, two",
	"hdfs-site.xml dfs.ha.namenodes.one=a,b",
	"hdfs-site.xml dfs.namenode.rpc-address.one.a=nn1:9000",
	"hdfs-site.xml dfs.namenode.rpc-address.one.b=${second}:9000",
	"hdfs-site.xml second=nn${digit}",
	"hdfs-site.xml digit=2",
	"hdfs-site.xml dfs.namenode.rpc-address.two=nn3:9000",
}

func TestResolve(t *testing.T) {
	configure(t, twoServices...)
	for uri, want := range map[string]struct{ name, back, nameNodes string }{
		"hdfs:///":              {"/", "hdfs:///b", "nn1:9000 nn2:9000"},
		"hdfs:///a//b/../c%20 ": {"/a/c%20 ", "hdfs:///b", "nn1:9000 nn2:9000"},
		"hdfs://one/a":          {"/a", "hdfs://one/b", "nn1:9000 nn2:9000"},
		"hdfs://two/a":          {"/a", "hdfs://two/b", "nn3:9000"},
		"hdfs://h:1/a":          {"/a", "hdfs://h:1/b", "h:1"},
		"hdfs://h":              {"/", "hdfs://h/b", "h:8020"},
		"hdfs://[::1]/a":        {"/a", "hdfs://[::1]/b", "[::1]:8020"},
	} {
		fs, name, err := storage.Resolve(t.Context(), uri)
		if err != nil || name != want.name {
			t.Errorf("Resolve(%q) = %q, %v; want %q", uri, name, err, want.name)
			continue
		}
		if got := strings.Join(fs.(*FS).options.Addresses, " "); got != want.nameNodes {
			t.Errorf("Resolve(%q): NameNodes %s, want %s", uri, got, want.nameNodes)
		}
		if again, _, _ := storage.Resolve(t.Context(), uri); again != fs {
			t.Errorf("Resolve(%q) twice gives two filesystems", uri)
		}
		if back := storage.URI(uri, "/b"); back != want.back {
			t.Errorf("URI(%q) = %q, want %q", uri, back, want.back)
		}
	}
	ann, _, _ := storage.Resolve(t.Context(), "hdfs:///")
	t.Setenv("HADOOP_USER_NAME", "bob")
	if bob, _, _ := storage.Resolve(t.Context(), "hdfs:///"); bob == ann {
		t.Error("two users share a filesystem")
	}
}

func TestResolveErrors(t *testing.T) {
	for _, c := range []struct {
		uri, says string
		lines     []string
	}{
		{"hdfs://", "path is missing", nil},
		{"hdfs:///a", "fs.defaultFS", nil},
		{"hdfs:///a", `"file:///"`, []string{"core-site.xml fs.defaultFS=file:///"}},
		{"hdfs:///a", "without a host", []string{"core-site.xml fs.defaultFS=hdfs:///"}},
		{"hdfs://ann@h/a", "HADOOP_USER_NAME", nil},
		{"hdfs://h/a\x00", "zero byte", nil},
		{"hdfs://one/a", "dfs.namenode.rpc-address.one.b", []string{
			"hdfs-site.xml dfs.ha.namenodes.one=a,b", "hdfs-site.xml dfs.namenode.rpc-address.one.a=h:1"}},
		{"hdfs://h/a", "dfs.blocksize", []string{"hdfs-site.xml dfs.blocksize=lots"}},
		{"hdfs://h/a", "dfs.replication", []string{"hdfs-site.xml dfs.replication=0"}},
		{"hdfs://h/a", "umask", []string{"core-site.xml fs.permissions.umask-mode=u=rwx"}},
	} {
		configure(t, c.lines...)
		_, _, err := storage.Resolve(t.Context(), c.uri)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Resolve(%q): %v; want %q in it", c.uri, err, c.says)
		}
	}
	t.Setenv("HADOOP_CONF_DIR", t.TempDir())
	if _, _, err := storage.Resolve(t.Context(), "hdfs://h/a"); err == nil || !strings.Contains(err.Error(), "HADOOP_CONF_DIR") {
		t.Errorf("a folder without a configuration: %v", err)
	}
	t.Setenv("HADOOP_CONF_DIR", "")
	t.Setenv("HADOOP_HOME", "")
	if _, _, err := storage.Resolve(t.Context(), "hdfs:///a"); err == nil || !strings.Contains(err.Error(), "set HADOOP_CONF_DIR") {
		t.Errorf("no configuration: %v", err)
	}
}

func TestOptions(t *testing.T) {
	configure(t, "hdfs-site.xml dfs.blocksize=64m", "hdfs-site.xml dfs.replication=1", "core-site.xml fs.permissions.umask-mode=077",
		"hdfs-site.xml dfs.client.use.datanode.hostname=true", "hdfs-site.xml dfs.data.transfer.protection=authentication,privacy",
		"core-site.xml hadoop.security.authentication=kerberos", "hdfs-site.xml dfs.namenode.kerberos.principal=nn/_HOST@REALM")
	c, err := configured("h")
	o := c.options
	if err != nil || c.blockSize != 64<<20 || c.replication != 1 || c.umask != 0o077 || !o.UseDatanodeHostname || o.User != "ann" ||
		o.DataTransferProtection != "privacy" || o.KerberosClient == nil || o.KerberosServicePrincipleName != "nn/_HOST" {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]int64{"1048576": 1 << 20, "1k": 1 << 10, "3G": 3 << 30, "0": 0, "-1": 0, "k": 0, "9999999p": 0, "1x": 0} {
		if got, err := byteSize(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("byteSize(%q) = %d, %v", text, got, err)
		}
	}
}

// TestKerberos shows what is said without a ticket, and that a keytab is taken up
// to the point where Kerberos itself is asked.
func TestKerberos(t *testing.T) {
	configure(t, "core-site.xml hadoop.security.authentication=kerberos", "hdfs-site.xml dfs.namenode.kerberos.principal=nn/_HOST@REALM")
	dir := t.TempDir()
	conf := filepath.Join(dir, "krb5.conf")
	t.Setenv("KRB5_CONFIG", conf)
	t.Setenv("KRB5CCNAME", "")
	t.Setenv("KRB5_CLIENT_KTNAME", "")
	says := func(want string) {
		t.Helper()
		fs, _, err := storage.Resolve(t.Context(), "hdfs://h/a")
		if err == nil {
			_, err = storage.Stat(t.Context(), fs, "/a")
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q in it", err, want)
		}
	}
	says("KRB5_CONFIG")
	text := "[libdefaults]\ndefault_realm = REALM\ndns_lookup_kdc = false\n[realms]\nREALM = {\n kdc = 127.0.0.1:1\n}\n"
	if err := os.WriteFile(conf, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5CCNAME", "KEYRING:x")
	says("only caches in files")
	t.Setenv("KRB5CCNAME", "FILE:"+filepath.Join(dir, "none"))
	says("run kinit")

	kt := keytab.New()
	if err := kt.AddEntry("ann/host", "REALM", "password", time.Now(), 1, 18); err != nil {
		t.Fatal(err)
	}
	bytes, err := kt.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "ann.keytab")
	if err := os.WriteFile(name, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5_CLIENT_KTNAME", "FILE:"+name)
	says("Kerberos refuses ann/host@REALM")
}

func TestSealedFromAnywhere(t *testing.T) {
	d := newFS(target{})
	good := "7:/data/.divisi-job/out/part-0/attempt-01"
	if p, err := parse(t.Context(), "publish", storage.Sealed{Name: "/data/out/part-0", Token: good}); err != nil || p.token() != good || p.dir() != "/data/.divisi-job/out/part-0" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, token := range []string{"", "7", "/data/x", "0:/data/.divisi-job/out/part-0/attempt-01", "x:/data/.divisi-job/out/part-0/attempt-01",
		"7:/data/out/part-0", "7:/data/.divisi-job/out/part-1/attempt-01", "7:/data/.divisi-job/out/part-0/other",
		"7:/data/.divisi-job/out/part-0/../part-0/attempt-01", "7:data/.divisi-job/out/part-0/attempt-01", "7:/.divisi-job/out/part-0/attempt-01"} {
		s := storage.Sealed{Name: "/data/out/part-0", Token: token}
		if err := d.Publish(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no attempt for this name") {
			t.Errorf("Publish with token %q: %v", token, err)
		}
		if err := d.Discard(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no attempt for this name") {
			t.Errorf("Discard with token %q: %v", token, err)
		}
	}
}

func TestOwnerFolder(t *testing.T) {
	var all []string
	for _, owner := range []string{"", "job", "job/1", "JOB", "%4a", "a%2f", "a/", strings.Repeat("x", 201), strings.Repeat("x", 202)} {
		folder := storage.OwnerFolder(owner)
		if strings.Contains(folder, "/") || len(folder) > 255 || !storage.IsOwnerFolder(folder) || slices.Contains(all, folder) {
			t.Errorf("owner %q has folder %q (others: %q)", owner, folder, all)
		}
		all = append(all, folder)
	}
}

// fileEverywhere is a NameNode that takes every name for a file.
type fileEverywhere struct{}

func (fileEverywhere) Execute(_ string, _, resp proto.Message) error {
	m := resp.ProtoReflect()
	status := m.Mutable(m.Descriptor().Fields().ByName("fs")).Message()
	status.Set(status.Descriptor().Fields().ByName("fileType"), protoreflect.ValueOfEnum(isFile))
	return nil
}

// TestBelowAFile: that a file is no folder does not pass, so nobody waits for it.
func TestBelowAFile(t *testing.T) {
	_, err := anchorOf(fileEverywhere{}, "/file/new", false)
	if !errors.Is(err, storage.ErrInvalid) || passing(err) || !strings.Contains(fmt.Sprint(err), "/file is a file") {
		t.Errorf("%v, want ErrInvalid at once", err)
	}
}
