package security

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// The files of a folder that Init makes: one folder for each role, to be copied to where
// that runs, and the authority's, which makes all others and belongs nowhere else.
const (
	authorityDir = "authority"
	authorityKey = "ca-key.pem"
	caFile       = "ca.pem"
	certFile     = "cert.pem"
	keyFile      = "key.pem"
	jobKeyFile   = "job.key" // a worker's: what job tokens are made with
)

// authorityYears is how long an authority lasts, and clockSkew how far clocks may be apart
// where a new certificate is to count at once.
const (
	authorityYears = 10
	clockSkew      = time.Hour
)

// Init makes an authority in a folder, and for each role a certificate that is valid for
// so long. A folder that has an authority is an error: Renew is meant for that.
func Init(dir string, valid time.Duration) error {
	ca := filepath.Join(dir, authorityDir)
	if _, err := os.Stat(ca); err == nil {
		return fmt.Errorf("%s has an authority already: \"divisi security renew %s\" makes new certificates of it", dir, dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(ca, 0o700); err != nil {
		return err
	}
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := template("divisi authority", now, now.AddDate(authorityYears, 0, 0))
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	if err := os.MkdirAll(filepath.Join(dir, string(Worker)), 0o700); err != nil {
		return err
	}
	if err := errors.Join(
		writeKey(filepath.Join(ca, authorityKey), key),
		write(filepath.Join(ca, caFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		write(filepath.Join(dir, string(Worker), jobKeyFile), pem.EncodeToMemory(&pem.Block{Type: "DIVISI JOB KEY", Bytes: secret})),
	); err != nil {
		return err
	}
	return Renew(dir, valid)
}

// Renew makes new certificates of the authority in a folder, for all roles. Each file is
// replaced at once; a component that reads a certificate and the key of another keeps what
// it had and looks again.
func Renew(dir string, valid time.Duration) error {
	if valid < time.Second {
		return fmt.Errorf("a certificate that is valid for %s: want a second or more", valid)
	}
	ca := filepath.Join(dir, authorityDir)
	bundle, err := os.ReadFile(filepath.Join(ca, caFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no authority: \"divisi security init %s\" makes one: %w", dir, dir, err)
	}
	if err != nil {
		return err
	}
	cas, err := certificates(filepath.Join(ca, caFile), bundle)
	if err != nil {
		return err
	}
	key, err := readKey(filepath.Join(ca, authorityKey))
	if err != nil {
		return err
	}
	for _, r := range Roles() {
		if err := issue(filepath.Join(dir, string(r)), r, valid, cas[0], key, bundle); err != nil {
			return err
		}
	}
	return nil
}

func issue(dir string, r Role, valid time.Duration, ca *x509.Certificate, by crypto.Signer, bundle []byte) error {
	now := time.Now()
	until := now.Add(valid)
	if until.After(ca.NotAfter) {
		return fmt.Errorf("a certificate until %s would outlive its authority, which ends %s", day(until), day(ca.NotAfter))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := template("divisi "+string(r), now, until)
	t.URIs, t.KeyUsage = []*url.URL{r.uri()}, x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), by)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(
		write(filepath.Join(dir, caFile), bundle),
		writeKey(filepath.Join(dir, keyFile), key),
		write(filepath.Join(dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	)
}

func template(name string, from, until time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from.Add(-clockSkew), NotAfter: until}
}

func writeKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return write(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// write replaces a file at once, readable by its owner alone.
func write(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func readKey(name string) (crypto.Signer, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no key in PEM", name)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a %T does not sign", name, k)
	}
	return s, nil
}

// certificates are those of a file's text, one or more.
func certificates(name string, text []byte) (all []*x509.Certificate, err error) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no certificate in PEM", name)
	}
	return all, nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
