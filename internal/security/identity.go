package security

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// An Identity is what a component proves to others who it is, from a folder that Init has
// made: ca.pem (whom it trusts: one authority, or an old and a new one), cert.pem, key.pem,
// and a worker's job.key. Nil is one of a cluster without TLS. Its methods may be called
// from many goroutines.
type Identity struct {
	dir  string
	role Role
	log  *slog.Logger
	now  func() time.Time

	mu    sync.Mutex
	stats []fileStat
	has   *material
}

// material is what was read at one moment. It is not changed.
type material struct {
	cert   tls.Certificate
	trust  *x509.CertPool
	bundle []byte // of ca.pem
	jobKey []byte
}

type fileStat struct {
	modified time.Time
	size     int64
	file     fs.FileInfo
}

// Load reads the identity of a role. The log hears of files that cannot be read later; nil:
// nobody does.
func Load(dir string, role Role, log *slog.Logger) (*Identity, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	id := &Identity{dir: dir, role: role, log: log, now: time.Now}
	id.stats = id.stat()
	var err error
	if id.has, err = read(dir, role); err != nil {
		return nil, fmt.Errorf("security: %w", err)
	}
	if err := id.expired(id.has); err != nil {
		return nil, err
	}
	return id, nil
}

// LoadClient is Load of a client's; nil of no folder, "".
func LoadClient(dir string) (*Identity, error) {
	if dir == "" {
		return nil, nil
	}
	return Load(dir, Client, nil)
}

// Expires is when the certificate ends; the zero time without one.
func (id *Identity) Expires() time.Time {
	if id == nil {
		return time.Time{}
	}
	return id.current().cert.Leaf.NotAfter
}

// Until is when the certificate of a role in a folder ends, which may have been.
func Until(dir string, role Role) (time.Time, error) {
	m, err := read(dir, role)
	if err != nil {
		return time.Time{}, fmt.Errorf("security: %w", err)
	}
	return m.cert.Leaf.NotAfter, nil
}

// current is what the files say now, or said when they last made sense.
func (id *Identity) current() *material {
	id.mu.Lock()
	defer id.mu.Unlock()
	stats := id.stat()
	if same(stats, id.stats) {
		return id.has
	}
	m, err := read(id.dir, id.role)
	if err != nil {
		// Perhaps only half of them are replaced: they are looked at again.
		id.log.Warn("new certificates cannot be read; the old ones count", "dir", id.dir, "err", err)
		return id.has
	}
	id.log.Info("new certificates", "dir", id.dir, "until", m.cert.Leaf.NotAfter)
	id.has, id.stats = m, stats
	return m
}

func (id *Identity) stat() []fileStat {
	var all []fileStat
	for _, n := range []string{caFile, certFile, keyFile, jobKeyFile} {
		var s fileStat
		if info, err := os.Stat(filepath.Join(id.dir, n)); err == nil {
			s = fileStat{info.ModTime(), info.Size(), info}
		}
		all = append(all, s)
	}
	return all
}

func same(a, b []fileStat) bool {
	for i := range a {
		x, y := a[i], b[i]
		if !x.modified.Equal(y.modified) || x.size != y.size || (x.file == nil) != (y.file == nil) || x.file != nil && !os.SameFile(x.file, y.file) {
			return false
		}
	}
	return true
}

func read(dir string, role Role) (*material, error) {
	m := &material{trust: x509.NewCertPool()}
	var err error
	name := filepath.Join(dir, certFile)
	if m.cert, err = tls.LoadX509KeyPair(name, filepath.Join(dir, keyFile)); err != nil {
		return nil, fmt.Errorf("%s and %s: %w (\"divisi security init\" makes them)", name, keyFile, err)
	}
	if have := roleOf(m.cert.Leaf.URIs); have != role {
		return nil, fmt.Errorf("%s is of a %s, want a %s's: name the folder of that role", name, orNone(have), role)
	}
	ca := filepath.Join(dir, caFile)
	if m.bundle, err = os.ReadFile(ca); err != nil {
		return nil, err
	}
	if m.trust, err = pool(ca, m.bundle); err != nil {
		return nil, err
	}
	if role != Worker {
		return m, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, jobKeyFile))
	if err != nil {
		return nil, err
	}
	b, _ := pem.Decode(text)
	if b == nil || len(b.Bytes) < 16 {
		return nil, fmt.Errorf("%s: no key of 16 bytes or more in PEM", filepath.Join(dir, jobKeyFile))
	}
	m.jobKey = b.Bytes
	return m, nil
}

func pool(name string, bundle []byte) (*x509.CertPool, error) {
	all, err := certificates(name, bundle)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	for _, c := range all {
		p.AddCert(c)
	}
	return p, nil
}

// ErrCertExpired is why a certificate does not count any more; errors.As with an *Expired
// says which.
var ErrCertExpired = errors.New("the certificate has expired")

// An Expired says whose certificate has ended, and when.
type Expired struct {
	Subject string
	At      time.Time
	File    string // where the own one is; "": it is the other side's
}

func (e *Expired) Error() string {
	whose := "the other side's certificate"
	if e.File != "" {
		whose = "the certificate " + e.File
	}
	return fmt.Sprintf("%s (%s) has expired on %s: \"divisi security renew\" makes a new one, which counts as soon as its files are in their place", whose, e.Subject, day(e.At))
}

// Is makes an Expired an ErrCertExpired.
func (e *Expired) Is(target error) bool { return target == ErrCertExpired }

// expired says that the own certificate has.
func (id *Identity) expired(m *material) error {
	if id.now().After(m.cert.Leaf.NotAfter) {
		return id.ended(m)
	}
	return nil
}

func (id *Identity) ended(m *material) error {
	return &Expired{m.cert.Leaf.Subject.String(), m.cert.Leaf.NotAfter, filepath.Join(id.dir, certFile)}
}

// verify checks the other side's certificate: made by whom this side trusts, valid now, and
// of one of the roles.
func (id *Identity) verify(cs tls.ConnectionState, roles ...Role) error {
	return verify(cs, id.current().trust, id.now(), roles...)
}

func verify(cs tls.ConnectionState, trust *x509.CertPool, now time.Time, roles ...Role) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the other side shows no certificate")
	}
	leaf := cs.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: trust, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	switch {
	case err == nil:
	case now.After(leaf.NotAfter):
		return &Expired{Subject: leaf.Subject.String(), At: leaf.NotAfter}
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the other side's certificate (%s) counts from %s on: do the clocks differ?", leaf.Subject, day(leaf.NotBefore))
	default:
		return fmt.Errorf("the other side's certificate (%s) is not of an authority in ca.pem: %w", leaf.Subject, err)
	}
	have := roleOf(leaf.URIs)
	for _, r := range roles {
		if have == r {
			return nil
		}
	}
	return fmt.Errorf("the other side's certificate (%s) is of a %s, want %v", leaf.Subject, orNone(have), roles)
}

func orNone(r Role) string {
	if r == "" {
		return "program without a role"
	}
	return string(r)
}
