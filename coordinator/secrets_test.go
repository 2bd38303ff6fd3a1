package coordinator

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestSecretsStayOutOfTheJournal(t *testing.T) {
	s, err := openSecrets(filepath.Join(t.TempDir(), "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"AWS_SECRET_ACCESS_KEY": "canary-1", "DB_PASSWORD": "canary-2", "TZ": "UTC", "TOKEN_FILE": "/a/file"}
	if err := s.hide(env); err != nil {
		t.Fatal(err)
	}
	if env["TZ"] != "UTC" || env["TOKEN_FILE"] != "/a/file" {
		t.Errorf("what is no secret was hidden: %v", env)
	}
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "DB_PASSWORD"} {
		if bytes.Contains([]byte(env[name]), []byte("canary")) {
			t.Errorf("%s is %q", name, env[name])
		}
	}
	ref := env["DB_PASSWORD"]
	if err := s.hide(env); err != nil || env["DB_PASSWORD"] != ref {
		t.Errorf("hiding again: %q, %v", env["DB_PASSWORD"], err)
	}
	kept := map[string]string{"DB_PASSWORD": ref}
	shown := map[string]string{"AWS_SECRET_ACCESS_KEY": env["AWS_SECRET_ACCESS_KEY"], "DB_PASSWORD": ref}
	s.reveal(shown)
	if shown["AWS_SECRET_ACCESS_KEY"] != "canary-1" || shown["DB_PASSWORD"] != "canary-2" {
		t.Errorf("revealed: %v", shown)
	}
	if err := s.sweep([]map[string]string{kept}); err != nil {
		t.Fatal(err)
	}
	s.reveal(env)
	if _, still := env["AWS_SECRET_ACCESS_KEY"]; still || env["DB_PASSWORD"] != "canary-2" {
		t.Errorf("after the sweep: %v", env)
	}
	bad := map[string]string{"X_TOKEN": secretScheme + "../../etc/passwd"}
	s.reveal(bad)
	if bad["X_TOKEN"] != secretScheme+"../../etc/passwd" {
		t.Errorf("a reference that climbs out was followed: %v", bad)
	}
}

// TestCanary submits a job with a secret and looks for it in all that the coordinator
// wrote, but for the folder that is for secrets.
func TestCanary(t *testing.T) {
	dir := t.TempDir()
	c, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", State: dir})
	if err != nil {
		t.Fatal(err)
	}
	const canary = "canary-4711-secret"
	req := twoStages(t)
	req.Job.Env = map[string]string{"AWS_SECRET_ACCESS_KEY": canary}
	req.Job.BinarySha256 = strings.Repeat("1", 64)
	if _, err := client(t, c).Submit(t.Context(), req); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("without its program: %v", err) // and nothing of it is kept
	}
	req.Job.BinarySha256 = ""
	if _, err := client(t, c).Submit(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if !bytes.Contains(b, []byte(canary)) {
			return nil
		}
		if filepath.Base(filepath.Dir(name)) != "secrets" {
			t.Errorf("%s holds the secret", name)
			return nil
		}
		found++
		if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found != 1 {
		t.Errorf("the secret is kept %d times, want once", found)
	}
}
