package services

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
)

// properties are those of one of Hadoop's configuration files.
type properties map[string]string

func (p properties) with(more properties) properties {
	all := maps.Clone(p)
	maps.Copy(all, more)
	return all
}

func (p properties) write(file string) error {
	var b bytes.Buffer
	b.WriteString("<configuration>\n")
	for _, name := range slices.Sorted(maps.Keys(p)) {
		b.WriteString("<property><name>" + name + "</name><value>")
		if err := xml.EscapeText(&b, []byte(p[name])); err != nil {
			return err
		}
		b.WriteString("</value></property>\n")
	}
	b.WriteString("</configuration>\n")
	return os.WriteFile(file, b.Bytes(), 0o666)
}

const (
	// racks is a script that prints the rack of each host.
	racks = `#!/bin/sh
for host; do
	case $host in 127.0.0.[3579]) echo /rack2 ;; *) echo /rack1 ;; esac
done
`
	hadoopLogging = `log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
`
	// hadoopMetrics has the servers' numbers be a second old at most.
	hadoopMetrics = "*.period=1\n"
)

// configure chooses ports and writes a configuration folder for each node and one
// for clients.
func (c *HDFSCluster) configure(o HDFSOptions) error {
	u, err := user.Current()
	if err != nil {
		return err
	}
	c.User, c.ConfDir = u.Username, c.conf("client")
	group := u.Gid
	if g, err := user.LookupGroupId(u.Gid); err == nil {
		group = g.Name
	}
	var failed error
	port := func(host string) string {
		address, err := at(host)
		if err != nil {
			failed = err
		}
		return address
	}
	nameNodes := 1
	if o.HA {
		nameNodes = 2
	}
	for range nameNodes {
		c.NameNodes, c.HTTP = append(c.NameNodes, port("127.0.0.1")), append(c.HTTP, port("127.0.0.1"))
	}
	c.URL = "hdfs://" + c.NameNodes[0]
	if o.HA {
		c.URL = "hdfs://divisi"
	}
	core := properties{
		"fs.defaultFS":                      c.URL,
		"hadoop.tmp.dir":                    filepath.Join(c.dir, "tmp"),
		"ipc.client.connect.max.retries":    "3",
		"ipc.client.connect.retry.interval": "200",
	}
	if !o.OneRack {
		core["net.topology.script.file.name"] = filepath.Join(c.dir, "racks.sh")
	}
	site := properties{
		"dfs.replication":                       strconv.Itoa(cmp.Or(o.Replication, 2)),
		"dfs.blocksize":                         strconv.FormatInt(cmp.Or(o.BlockSize, 1<<20), 10),
		"dfs.namenode.fs-limits.min-block-size": "512",
		"dfs.namenode.datanode.registration.ip-hostname-check": "false",
		"dfs.permissions.superusergroup":                       group,
		"dfs.namenode.safemode.extension":                      "0",
		"dfs.namenode.handler.count":                           "8",
		"dfs.client.read.shortcircuit":                         "false",
		"dfs.disk.balancer.enabled":                            "false",
		// A dead DataNode is noticed in seconds (2 * recheck + 10 * heartbeat), a
		// stale one sooner.
		"dfs.heartbeat.interval":                   "1",
		"dfs.namenode.heartbeat.recheck-interval":  "1000",
		"dfs.namenode.stale.datanode.interval":     "3000",
		"dfs.namenode.avoid.read.stale.datanode":   "true",
		"dfs.namenode.avoid.write.stale.datanode":  "true",
		"dfs.namenode.redundancy.interval.seconds": "1s",
	}
	if o.HA {
		journal := port("127.0.0.1")
		c.nodes["journal-1"] = &hdfsNode{class: "org.apache.hadoop.hdfs.qjournal.server.JournalNode", heap: "128m", listens: journal}
		maps.Copy(site, properties{
			"dfs.nameservices":                          "divisi",
			"dfs.ha.namenodes.divisi":                   "nn1,nn2",
			"dfs.namenode.rpc-address.divisi.nn1":       c.NameNodes[0],
			"dfs.namenode.rpc-address.divisi.nn2":       c.NameNodes[1],
			"dfs.namenode.http-address.divisi.nn1":      c.HTTP[0],
			"dfs.namenode.http-address.divisi.nn2":      c.HTTP[1],
			"dfs.namenode.shared.edits.dir":             "qjournal://" + journal + "/divisi",
			"dfs.journalnode.edits.dir":                 filepath.Join(c.dir, "journal-1"),
			"dfs.journalnode.rpc-address":               journal,
			"dfs.journalnode.http-address":              port("127.0.0.1"),
			"dfs.client.failover.proxy.provider.divisi": "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
			"dfs.ha.fencing.methods":                    "shell(/bin/true)",
			"dfs.ha.automatic-failover.enabled":         "false",
			"dfs.ha.tail-edits.period":                  "1s",
		})
	} else {
		maps.Copy(site, properties{
			"dfs.namenode.rpc-address":            c.NameNodes[0],
			"dfs.namenode.http-address":           c.HTTP[0],
			"dfs.namenode.secondary.http-address": "127.0.0.1:0",
		})
	}
	if len(o.Keys) > 0 {
		core["hadoop.security.key.provider.path"] = c.keyProvider()
	}
	maps.Copy(site, o.Properties)

	own := map[string]properties{"client": {}}
	if o.HA {
		own["journal-1"] = properties{}
	}
	for i, address := range c.NameNodes {
		name := fmt.Sprintf("namenode-%d", i+1)
		own[name] = properties{"dfs.namenode.name.dir": filepath.Join(c.dir, name)}
		if o.HA {
			own[name]["dfs.ha.namenode.id"] = fmt.Sprintf("nn%d", i+1)
		}
		c.nodes[name] = &hdfsNode{class: "org.apache.hadoop.hdfs.server.namenode.NameNode", heap: "384m", listens: address}
	}
	for i := range o.DataNodes {
		name, host := fmt.Sprintf("datanode-%d", i+1), fmt.Sprintf("127.0.0.%d", i+2)
		data, web := port(host), port(host)
		own[name] = properties{
			"dfs.datanode.data.dir":                   filepath.Join(c.dir, name),
			"dfs.datanode.hostname":                   host,
			"dfs.datanode.address":                    data,
			"dfs.datanode.ipc.address":                port(host),
			"dfs.datanode.http.address":               web,
			"divisi.rpc.bind.address":                 host,
			"hadoop.rpc.socket.factory.class.default": "BindingSocketFactory",
		}
		c.nodes[name] = &hdfsNode{class: "org.apache.hadoop.hdfs.server.datanode.DataNode", heap: "256m", listens: data, web: web}
		c.DataNodes = append(c.DataNodes, host)
	}
	if failed != nil {
		return failed
	}
	if err := os.WriteFile(filepath.Join(c.dir, "racks.sh"), []byte(racks), 0o777); err != nil {
		return err
	}
	for name, p := range own {
		dir := c.conf(name)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		if err := core.write(filepath.Join(dir, "core-site.xml")); err != nil {
			return err
		}
		if err := site.with(p).write(filepath.Join(dir, "hdfs-site.xml")); err != nil {
			return err
		}
		for file, text := range map[string]string{"log4j.properties": hadoopLogging, "hadoop-metrics2.properties": hadoopMetrics} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o666); err != nil {
				return err
			}
		}
	}
	return nil
}

// DataDir is the folder with a DataNode's blocks.
func (c *HDFSCluster) DataDir(node string) string { return filepath.Join(c.dir, node) }
