package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
)

// testSecurity reads and writes over SASL and TLS.
func testSecurity(t *testing.T, p *place) {
	t.Setenv("DIVISI_TEST_PASSWORD", p.Password)
	secret := p.file(t, "password="+p.Password+"\n")
	module := func(name, password string) string {
		return `sasl.jaas.config=org.apache.kafka.common.security.` + name + ` required \` + "\n" + `  username="` + p.User + `" password="` + password + `";` + "\n"
	}
	tls := "security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location=" + p.CA + "\n"
	open := func(text string) ([]string, error) {
		topic := p.topic(t, 1)
		uri := Scheme + p.SecureBootstrap + "/" + topic + "?config=" + p.file(t, text)
		s := newSink(t, SinkArgs{URI: uri})
		j := job{s, dataflow.Commit{Job: "secure", Mode: dataflow.Fail}}
		prepared, err := s.Prepare(t.Context(), j.commit)
		if err != nil {
			return nil, err
		}
		j.commit.Prepared = prepared
		j.publish(t, j.seal(t, 0, 0, batch(t, schemas[Text], `[{"line":"secret"}]`)))
		j.clean(t)
		return tryLines(t, SourceArgs{URI: uri}, dataflow.SplitHint{})
	}
	for _, text := range []string{
		tls + "sasl.mechanism=PLAIN\n" + module("plain.PlainLoginModule", p.Password),
		tls + "sasl.mechanism=SCRAM-SHA-256\n" + module("scram.ScramLoginModule", "${env:DIVISI_TEST_PASSWORD}"),
		tls + "sasl.mechanism=SCRAM-SHA-512\n" + module("scram.ScramLoginModule", "${file:"+secret+":password}"),
	} {
		if got, err := open(text); err != nil || !slices.Equal(got, []string{`"secret" `}) {
			t.Errorf("%.200s: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		tls + "sasl.mechanism=PLAIN\n" + module("plain.PlainLoginModule", "guessed-wrong"):                                                  "check user and password",
		tls + "sasl.mechanism=SCRAM-SHA-512\n" + module("scram.ScramLoginModule", "guessed-wrong"):                                          "check user and password",
		"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n" + module("plain.PlainLoginModule", p.Password):                                 "ssl.truststore.location",
		tls + "sasl.mechanism=GSSAPI\n" + module("plain.PlainLoginModule", p.Password):                                                      "GSSAPI",
		tls + "sasl.kerberos.service.name=kafka\n":                                                                                          "sasl.kerberos.service.name",
		"security.protocol=SASL_SSL\nssl.truststore.location=/x.jks\nsasl.mechanism=PLAIN\n" + module("plain.PlainLoginModule", p.Password): "only PEM",
	} {
		_, err := open(text)
		if dataflow.KindOf(err) != dataflow.User || !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), "guessed-wrong") || strings.Contains(fmt.Sprint(err), p.Password) {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}
