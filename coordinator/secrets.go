package coordinator

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secretScheme begins a reference to a secret, which stands for it in the journal and
// in all that is made of the journal.
const secretScheme = "secret://"

// secretWords mark the variables whose values are secrets.
var secretWords = []string{"SECRET", "TOKEN", "PASSWORD", "ACCESS_KEY", "CREDENTIAL"}

// secrets keeps the secret values of jobs' environments in files of their own, readable
// by this user alone, so that the journal, plans and pages hold references.
type secrets struct{ dir string }

func openSecrets(dir string) (*secrets, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	return &secrets{dir}, nil
}

func isSecret(name string) bool {
	for _, w := range secretWords {
		if strings.Contains(name, w) && !strings.HasSuffix(name, "_FILE") {
			return true
		}
	}
	return false
}

// hide puts references in the place of secret values. Values that are references
// already, of a job that is submitted again, stay.
func (s *secrets) hide(env map[string]string) error {
	for name, value := range env {
		if !isSecret(name) || value == "" || strings.HasPrefix(value, secretScheme) {
			continue
		}
		var id [16]byte
		rand.Read(id[:]) // never fails
		ref := hex.EncodeToString(id[:])
		if err := writeDurably(filepath.Join(s.dir, ref), []byte(value)); err != nil {
			return fmt.Errorf("secrets: keep %s: %w", name, err)
		}
		env[name] = secretScheme + ref
	}
	return nil
}

// reveal puts the values back, for a worker. One that is gone is left out.
func (s *secrets) reveal(env map[string]string) {
	for name, value := range env {
		ref, ok := strings.CutPrefix(value, secretScheme)
		if !ok || filepath.Base(ref) != ref {
			continue
		}
		b, err := os.ReadFile(filepath.Join(s.dir, ref))
		if err != nil {
			delete(env, name)
			continue
		}
		env[name] = string(b)
	}
}

// sweep removes what none of the given environments refers to.
func (s *secrets) sweep(envs []map[string]string) error {
	used := map[string]bool{}
	for _, env := range envs {
		for _, v := range env {
			if ref, ok := strings.CutPrefix(v, secretScheme); ok {
				used[ref] = true
			}
		}
	}
	have, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range have {
		if !used[e.Name()] {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}

// writeDurably makes a file that is there, whole, when it returns.
func writeDurably(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(0o600))
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
