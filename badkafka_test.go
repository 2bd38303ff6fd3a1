package divisi_test

import (
	"strings"
	"testing"

	"github.com/divisi-data/divisi/connectors/kafka"
	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/storage"
)

func properties(t *testing.T, lines ...string) string {
	t.Helper()
	return put(t, "client.properties", []byte(strings.Join(lines, "\n")+"\n"))
}

// TestBadTopics: addresses and settings that need no broker to be wrong.
func TestBadTopics(t *testing.T) {
	in := write(t, "one\n")
	t.Setenv(kafka.BootstrapEnv, "")
	const url = "kafka://127.0.0.1:9092/words"
	for _, c := range []struct{ name, uri, says string }{
		{"no topic", "kafka://127.0.0.1:9092/", "no name of a topic"},
		{"no name of a topic", "kafka://127.0.0.1:9092/a%20b", "no name of a topic"},
		{"no port", "kafka://127.0.0.1:none/words", "host:port"},
		{"a password in the address", "kafka://me:hunter2@127.0.0.1:9092/words", "?config="},
		{"an unknown parameter", url + "?form=earliest", "have from, to, config, rack"},
		{"a bound that is none", url + "?from=yesterday", "yesterday"},
		{"offsets that are none", url + "?from=offsets:0=x", "partition=offset"},
		{"a group without a name", url + "?from=group:", "no name"},
	} {
		badRow{name: c.name, job: copyLines, in: c.uri, is: storage.ErrInvalid, says: []string{c.says}}.runNamed(t)
	}
	for _, c := range []struct{ name, uri, says string }{
		{"no servers", "kafka:///words", kafka.BootstrapEnv},
		{"settings that are not there", url + "?config=" + in + ".none", "in.none"},
		{"a setting without support", url + "?config=" + properties(t, "sasl.kerberos.service.name=kafka"), "sasl.kerberos.service.name"},
		{"a protocol that is none", url + "?config=" + properties(t, "security.protocol=TLS"), "security.protocol"},
		{"a store of certificates that is not there", url + "?config=" + properties(t, "security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location="+in+".pem"), "in.pem"},
		{"a number that is none", url + "?config=" + properties(t, "request.timeout.ms=soon"), "request.timeout.ms"},
	} {
		badRow{name: c.name, job: copyLines, in: c.uri, is: storage.ErrInvalid, says: []string{c.says, "words"}}.runNamed(t)
		badRow{name: c.name + ", to write", job: copyLines, in: in, out: c.uri, is: storage.ErrInvalid, says: []string{c.says, "words"}}.runNamed(t)
	}
	if race.Short() {
		return // what follows waits
	}
	away := "kafka://" + nobody(t) + "/words?config=" + properties(t, "default.api.timeout.ms=1000", "request.timeout.ms=500")
	runBad(t, []badRow{
		{name: "nobody answers", job: copyLines, in: away, is: kafka.ErrUnreachable, says: []string{"words", "in 1s", "check the servers"}},
		{name: "nobody answers, to write", job: copyLines, in: in, out: away, is: kafka.ErrUnreachable, says: []string{"words", "in 1s", "check the servers"}},
	})
}
