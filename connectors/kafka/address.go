package kafka

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Scheme begins the address of a topic.
const Scheme = "kafka://"

// BootstrapEnv names the environment variable with the servers of addresses that
// name none.
const BootstrapEnv = "DIVISI_KAFKA_BOOTSTRAP"

// address is a topic of a cluster, and for a source which part of it.
type address struct {
	servers  []string
	topic    string
	from, to bound
	config   string // file of client properties
	rack     string
}

func (a address) path() string { return Scheme + strings.Join(a.servers, ",") + "/" + a.topic }

// parseAddress reads kafka://[host:port[,host:port]]/topic[?parameters]:
//
//	from, to   where to begin and before what to end: see parseBound;
//	           earliest and latest if not given
//	config     a file of client properties, read where the client runs
//	rack       the rack of the reader, to read from a replica nearby
//
// Without servers they are those of BootstrapEnv, or the properties'
// bootstrap.servers. An address holds no secrets: it is shown and journalled.
func parseAddress(uri string) (a address, err error) {
	rest, ok := strings.CutPrefix(uri, Scheme)
	if !ok {
		return a, fmt.Errorf("%q does not begin with %s", uri, Scheme)
	}
	if strings.Contains(rest, "@") && strings.Index(rest, "@") < strings.IndexAny(rest+"/", "/?") {
		return a, fmt.Errorf("an address holds no user or password; they belong into the file that ?config= names")
	}
	rest, query, _ := strings.Cut(rest, "?")
	servers, topic, _ := strings.Cut(rest, "/")
	if a.topic, err = url.PathUnescape(topic); err != nil {
		return a, fmt.Errorf("%q: %w", uri, err)
	}
	if !validTopic(a.topic) {
		return a, fmt.Errorf("%q: %q is no name of a topic (letters, digits, '.', '_' and '-')", uri, a.topic)
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return a, fmt.Errorf("%q: %w", uri, err)
	}
	a.from, a.to = bound{kind: earliest}, bound{kind: latest}
	for name, values := range params {
		v := values[len(values)-1]
		switch name {
		case "from":
			a.from, err = parseBound(v)
		case "to":
			a.to, err = parseBound(v)
		case "config":
			a.config = v
		case "rack":
			a.rack = v
		default:
			err = fmt.Errorf("no such parameter (have from, to, config, rack)")
		}
		if err != nil {
			return a, fmt.Errorf("%q: %s: %w", uri, name, err)
		}
	}
	if servers != "" {
		a.servers, err = parseServers(servers)
	}
	if err != nil {
		return a, fmt.Errorf("%q: %w", uri, err)
	}
	return a, nil
}

// complete fills in the servers from where they may come from instead.
func (a *address) complete(p properties) (err error) {
	switch env := os.Getenv(BootstrapEnv); {
	case len(a.servers) > 0:
	case env != "":
		a.servers, err = parseServers(env)
	case p["bootstrap.servers"] != "":
		a.servers, err = parseServers(p["bootstrap.servers"])
	default:
		err = fmt.Errorf("no servers: name them as in kafka://host:9092/%s, or set %s", a.topic, BootstrapEnv)
	}
	return err
}

func parseServers(list string) ([]string, error) {
	var servers []string
	for s := range strings.SplitSeq(list, ",") {
		s = strings.TrimSpace(s)
		host, port, ok := cutLast(s, ":")
		if !ok || strings.HasSuffix(s, "]") { // [::1] without a port
			host, port = s, "9092"
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" || strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
			return nil, fmt.Errorf("%q is no host:port", s)
		}
		servers = append(servers, host+":"+port)
	}
	return servers, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func validTopic(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 249 &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// boundKind is how one end of the ranges is given.
type boundKind int

const (
	earliest boundKind = iota
	latest
	atTime
	atOffsets
	ofGroup
)

// bound is one end of the ranges to read, before it is resolved.
type bound struct {
	kind    boundKind
	time    time.Time
	offsets map[int32]int64
	group   string
}

// parseBound reads one end of the ranges:
//
//	earliest, latest      what the log holds; latest is before the first
//	                      transaction that is open
//	2026-01-31T12:00:00Z  the first record that is not older
//	offsets:0=12,1=40     these offsets; partitions that are not named are not read
//	group:NAME            what a consumer group committed; where it committed
//	                      nothing, earliest
func parseBound(s string) (b bound, err error) {
	switch list, isOffsets := strings.CutPrefix(s, "offsets:"); {
	case s == "earliest":
		return bound{kind: earliest}, nil
	case s == "latest":
		return bound{kind: latest}, nil
	case isOffsets:
		b = bound{kind: atOffsets, offsets: map[int32]int64{}}
		for item := range strings.SplitSeq(list, ",") {
			p, o, _ := strings.Cut(item, "=")
			partition, err1 := strconv.ParseInt(p, 10, 32)
			offset, err2 := strconv.ParseInt(o, 10, 64)
			if err1 != nil || err2 != nil || partition < 0 || offset < 0 {
				return b, fmt.Errorf("%q is no partition=offset", item)
			}
			if _, twice := b.offsets[int32(partition)]; twice {
				return b, fmt.Errorf("partition %d is named twice", partition)
			}
			b.offsets[int32(partition)] = offset
		}
		return b, nil
	case strings.HasPrefix(s, "group:"):
		b = bound{kind: ofGroup, group: strings.TrimPrefix(s, "group:")}
		if b.group == "" {
			return b, fmt.Errorf("the group has no name")
		}
		return b, nil
	}
	// In a query an unescaped plus is a space; in a time it is the zone's sign.
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "+", 1))
	if err != nil {
		return b, fmt.Errorf("%q is not earliest, latest, a time like 2026-01-31T12:00:00Z, offsets:0=12,1=40, or group:NAME", s)
	}
	return bound{kind: atTime, time: t}, nil
}
