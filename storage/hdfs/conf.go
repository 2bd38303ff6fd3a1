package hdfs

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/colinmarc/hdfs/v2"
	"github.com/colinmarc/hdfs/v2/hadoopconf"
)

// A target is all that is known of a cluster before it is connected to. From the
// configuration come
//
//	fs.defaultFS                      the cluster of a URI without a host
//	dfs.nameservices and what belongs to each (dfs.ha.namenodes.X,
//	dfs.namenode.rpc-address.X.Y)     the NameNodes of hdfs://X/
//	dfs.replication, dfs.blocksize    of files written; else the cluster's
//	fs.permissions.umask-mode         octal; 022 if absent
//	dfs.client.use.datanode.hostname  connect to DataNodes by name
//	hadoop.security.authentication,
//	dfs.namenode.kerberos.principal   see kerberos.go
//	dfs.data.transfer.protection,
//	dfs.encrypt.data.transfer         how data connections are protected
//
// ${name} in a value stands for another property or a variable of the environment
// (${env.NAME}).
type target struct {
	key         string // tells one cluster and user from another
	options     hdfs.ClientOptions
	replication int   // 0: the cluster's
	blockSize   int64 // 0: the cluster's
	umask       os.FileMode
}

const defaultPort = "8020"

// configured is the cluster that a URI's authority names, or the default one.
func configured(authority string) (target, error) {
	dir, conf, err := configuration()
	if err != nil {
		return target{}, err
	}
	if authority == "" {
		fs := conf["fs.defaultFS"]
		if fs == "" {
			fs = conf["fs.default.name"]
		}
		rest, ok := strings.CutPrefix(fs, scheme)
		switch {
		case fs == "" && dir == "":
			return target{}, errors.New("no host in the URI and no configuration: set HADOOP_CONF_DIR, or write hdfs://host:port/path")
		case !ok:
			return target{}, fmt.Errorf("no host in the URI, and fs.defaultFS in %s is %q: write hdfs://host:port/path", dir, fs)
		}
		if authority, _, _ = strings.Cut(rest, "/"); authority == "" {
			return target{}, fmt.Errorf("fs.defaultFS in %s is %q, without a host", dir, fs)
		}
	}
	t := target{options: hdfs.ClientOptionsFromConf(conf), umask: 0o022}
	if t.options.Addresses, err = nameNodes(authority, conf); err != nil {
		return target{}, err
	}
	if t.options.User = os.Getenv("HADOOP_USER_NAME"); t.options.User == "" {
		u, err := user.Current()
		if err != nil {
			return target{}, fmt.Errorf("no user: %w (set HADOOP_USER_NAME)", err)
		}
		t.options.User = u.Username
	}
	if text := conf["fs.permissions.umask-mode"]; text != "" {
		mask, err := strconv.ParseUint(text, 8, 32)
		if err != nil || mask > 0o777 {
			return target{}, fmt.Errorf("fs.permissions.umask-mode in %s is %q: only octal digits are understood, such as 022", dir, text)
		}
		t.umask = os.FileMode(mask)
	}
	if text := conf["dfs.replication"]; text != "" {
		if t.replication, err = strconv.Atoi(text); err != nil || t.replication < 1 {
			return target{}, fmt.Errorf("dfs.replication in %s is %q and no number above 0", dir, text)
		}
	}
	if text := conf["dfs.blocksize"]; text != "" {
		if t.blockSize, err = byteSize(text); err != nil {
			return target{}, fmt.Errorf("dfs.blocksize in %s is %q: %w", dir, text, err)
		}
	}
	t.key = strings.Join([]string{strings.Join(t.options.Addresses, ","), t.options.User, dir, os.Getenv("KRB5CCNAME"), os.Getenv("KRB5_CLIENT_KTNAME")}, "\x00")
	return t, nil
}

// configuration reads the folder that the environment names; "" is none.
func configuration() (string, hadoopconf.HadoopConf, error) {
	dir := os.Getenv("HADOOP_CONF_DIR")
	if home := os.Getenv("HADOOP_HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, "etc", "hadoop")
	}
	if dir == "" {
		return "", nil, nil
	}
	conf, err := hadoopconf.Load(dir)
	switch {
	case err != nil:
		return dir, nil, fmt.Errorf("the Hadoop configuration cannot be read: %w", err)
	case conf == nil && os.Getenv("HADOOP_CONF_DIR") != "":
		return dir, nil, fmt.Errorf("HADOOP_CONF_DIR is %s, which has no core-site.xml and no hdfs-site.xml", dir)
	}
	whole := make(hadoopconf.HadoopConf, len(conf))
	for name, value := range conf {
		whole[name] = strings.TrimSpace(expand(conf, value, 20))
	}
	return dir, whole, nil
}

// expand puts in what ${...} stands for; what is unknown stays as it is.
func expand(conf hadoopconf.HadoopConf, value string, depth int) string {
	before, rest, ok := strings.Cut(value, "${")
	name, after, closed := strings.Cut(rest, "}")
	if !ok || !closed || depth == 0 {
		return value
	}
	with, known := conf[name]
	if v, env := strings.CutPrefix(name, "env."); env {
		with, known = os.LookupEnv(v)
	}
	if !known {
		return before + "${" + name + "}" + expand(conf, after, depth)
	}
	return before + expand(conf, with, depth-1) + expand(conf, after, depth)
}

// nameNodes are the addresses of an authority: those of a nameservice, or its own.
func nameNodes(authority string, conf hadoopconf.HadoopConf) ([]string, error) {
	names := strings.FieldsFunc(conf["dfs.ha.namenodes."+authority], func(r rune) bool { return r == ',' || r == ' ' })
	services := strings.FieldsFunc(conf["dfs.nameservices"], func(r rune) bool { return r == ',' || r == ' ' })
	if len(names) == 0 && !slices.Contains(services, authority) {
		if _, _, err := net.SplitHostPort(authority); err != nil {
			return []string{net.JoinHostPort(strings.Trim(authority, "[]"), defaultPort)}, nil
		}
		return []string{authority}, nil
	}
	if len(names) == 0 {
		names = []string{""}
	}
	var all []string
	for _, name := range names {
		key := "dfs.namenode.rpc-address." + authority
		if name != "" {
			key += "." + name
		}
		address := conf[key]
		if address == "" {
			return nil, fmt.Errorf("%s is a nameservice of the configuration, which has no %s", authority, key)
		}
		all = append(all, address)
	}
	return all, nil
}

// byteSize reads 134217728, 128m, 1g.
func byteSize(text string) (int64, error) {
	digits, shift := text, 0
	if i := strings.IndexByte("kmgtp", text[len(text)-1]|0x20); i >= 0 {
		digits, shift = text[:len(text)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0, errors.New("no size (such as 134217728 or 128m)")
	}
	return n << shift, nil
}
