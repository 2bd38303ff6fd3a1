package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// secured are the security settings that mean something here, or nothing to this
// client. Any other that begins with "ssl." or "sasl." is an error: security is not
// to be left out silently.
var secured = map[string]bool{
	"security.protocol": true, "sasl.mechanism": true, "sasl.jaas.config": true,
	"ssl.truststore.type": true, "ssl.truststore.location": true, "ssl.truststore.certificates": true,
	"ssl.keystore.type": true, "ssl.keystore.location": true, "ssl.keystore.key": true, "ssl.keystore.certificate.chain": true,
	"ssl.endpoint.identification.algorithm": true, "ssl.protocol": true, "ssl.enabled.protocols": true,
}

// security is the client's options for TLS and SASL.
func (p properties) security() ([]kgo.Opt, error) {
	for k := range p {
		if (strings.HasPrefix(k, "ssl.") || strings.HasPrefix(k, "sasl.")) && !secured[k] {
			return nil, fmt.Errorf("%s is not supported", k)
		}
	}
	var opts []kgo.Opt
	protocol := strings.ToUpper(p["security.protocol"])
	switch protocol {
	case "", "PLAINTEXT", "SASL_PLAINTEXT":
	case "SSL", "SASL_SSL":
		c, err := p.tls()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(c))
	default:
		return nil, fmt.Errorf("security.protocol is %q (have PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)", protocol)
	}
	if strings.HasPrefix(protocol, "SASL_") {
		m, err := p.mechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	} else if p["sasl.jaas.config"] != "" || p["sasl.mechanism"] != "" {
		return nil, fmt.Errorf("SASL is set up, but security.protocol is %q", p["security.protocol"])
	}
	return opts, nil
}

func (p properties) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	trusted, err := p.pem("ssl.truststore", "ssl.truststore.certificates")
	if err != nil {
		return nil, err
	}
	if trusted != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(trusted) {
			return nil, errors.New("ssl.truststore holds no certificate")
		}
	}
	own, err := p.pem("ssl.keystore", "ssl.keystore.certificate.chain")
	if err != nil {
		return nil, err
	}
	if own != nil {
		key := own
		if k := p["ssl.keystore.key"]; k != "" {
			key = []byte(k)
		}
		pair, err := tls.X509KeyPair(own, key)
		if err != nil {
			return nil, fmt.Errorf("ssl.keystore: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	switch how, given := p["ssl.endpoint.identification.algorithm"]; {
	case !given || strings.EqualFold(how, "https"):
	case how == "":
		// The certificate is still checked against the authorities, only the host's
		// name is not: as Java's client does.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool()}
			for _, cert := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(o)
			return err
		}
	default:
		return nil, fmt.Errorf("ssl.endpoint.identification.algorithm is %q (have https, or empty)", how)
	}
	return c, nil
}

// pem is a store's text: from its file, or given in place.
func (p properties) pem(store, inline string) ([]byte, error) {
	if text := p[inline]; text != "" {
		return []byte(text), nil
	}
	name := p[store+".location"]
	if name == "" {
		return nil, nil
	}
	if kind := p[store+".type"]; !strings.EqualFold(kind, "PEM") {
		return nil, fmt.Errorf("%s.type is %q, only PEM is supported: export the store's certificates as PEM and set it", store, kind)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s.location: %w", store, err)
	}
	return raw, nil
}

func (p properties) mechanism() (sasl.Mechanism, error) {
	user, password, err := parseJAAS(p["sasl.jaas.config"])
	if err != nil {
		return nil, fmt.Errorf("sasl.jaas.config: %w", err)
	}
	switch m := p["sasl.mechanism"]; m {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	default:
		return nil, fmt.Errorf("sasl.mechanism is %q (have PLAIN, SCRAM-SHA-256, SCRAM-SHA-512)", m)
	}
}

// parseJAAS takes user and password out of a login module's line:
// Module required username="u" password="p"; Errors do not repeat it.
func parseJAAS(s string) (user, password string, err error) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ";")
	words := strings.Fields(s)
	if len(words) < 2 {
		return "", "", errors.New(`want: MODULE required username="..." password="...";`)
	}
	rest := s[strings.Index(s, words[1])+len(words[1]):]
	options := map[string]string{}
	for {
		rest = strings.TrimLeft(rest, " \t\n")
		if rest == "" {
			break
		}
		name, value, ok := strings.Cut(rest, "=")
		if !ok {
			return "", "", errors.New("an option without a value")
		}
		value = strings.TrimLeft(value, " \t\n")
		var b strings.Builder
		i := 0
		if value != "" && (value[0] == '"' || value[0] == '\'') {
			quote := value[0]
			for i = 1; i < len(value) && value[i] != quote; i++ {
				if value[i] == '\\' && i+1 < len(value) {
					i++
				}
				b.WriteByte(value[i])
			}
			if i++; i > len(value) {
				return "", "", errors.New("a quote is not closed")
			}
		} else {
			for ; i < len(value) && !strings.ContainsRune(" \t\n", rune(value[i])); i++ {
				b.WriteByte(value[i])
			}
		}
		options[strings.TrimSpace(name)] = b.String()
		rest = value[i:]
	}
	if options["username"] == "" {
		return "", "", errors.New("no username")
	}
	return options["username"], options["password"], nil
}
