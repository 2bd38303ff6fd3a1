package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// cache is the folder of everything that was installed.
func cache() (string, error) {
	if dir := os.Getenv("DIVISI_SERVICES_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place to install servers: %w (set DIVISI_SERVICES_CACHE)", err)
	}
	return filepath.Join(home, ".cache", "divisi-services"), nil
}

// inCache reports whether a folder was installed, whole.
func inCache(folder string) bool {
	dir, err := cache()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(dir, folder))
	return err == nil
}

// installed gives the path of a folder of the cache, and makes it with fill if it
// is not there. The folder appears whole or not at all; of several processes that
// want it one fills it and the others wait. The folder's name carries the version.
func installed(ctx context.Context, folder string, fill func(ctx context.Context, into string) error) (string, error) {
	dir, err := cache()
	if err != nil {
		return "", err
	}
	target := filepath.Join(dir, folder)
	if inCache(folder) {
		return target, nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, target+".lock")
	if err != nil {
		return "", fmt.Errorf("waiting for another installation of %s: %w", folder, err)
	}
	defer unlock()
	if inCache(folder) {
		return target, nil // by whom we waited for
	}
	part := target + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o777)); err != nil {
		return "", err
	}
	if err := fill(ctx, part); err != nil {
		return "", fmt.Errorf("installing %s: %w", folder, err)
	}
	return target, os.Rename(part, target)
}

// goInstall gives the path of a binary that go install builds from a pinned
// version of a main package.
func goInstall(ctx context.Context, pkg, version, binary string) (string, error) {
	dir, err := installed(ctx, goFolder(binary, version), func(ctx context.Context, into string) error {
		bin := filepath.Join(into, "gobin")
		cmd := exec.CommandContext(ctx, "go", "install", "-ldflags", "-s -w", pkg+"@"+version)
		cmd.Dir = into
		cmd.Env = append(os.Environ(), "GOBIN="+bin, "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
		cmd.WaitDelay = 10 * time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go install %s@%s: %w\n%s", pkg, version, err, tail(out, 2000))
		}
		return errors.Join(os.Rename(filepath.Join(bin, binary), filepath.Join(into, binary)), os.Remove(bin))
	})
	return filepath.Join(dir, binary), err
}

func goFolder(binary, version string) string { return filepath.Join("go", binary+"-"+version) }

// tail is the end of a text.
func tail(text []byte, n int) []byte {
	return bytes.TrimSpace(text[max(0, len(text)-n):])
}
