package local

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/divisi-data/divisi/storage"
)

// TestMain lets the test binary be one of many processes.
func TestMain(m *testing.M) {
	dir, ok := os.LookupEnv("DIVISI_TEST_WRITER")
	if !ok {
		os.Exit(m.Run())
	}
	if err := writer(dir); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
}

// writer makes and ends many attempts of one owner, so that its hidden folder
// comes and goes, and publishes the one it is told of.
func writer(dir string) error {
	ctx := storage.WithOwner(context.Background(), "job7")
	for i := range 60 {
		name := dir + "/out/p" + strconv.Itoa(i%3) + "/part-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(i)
		o, err := FS{}.Create(ctx, name)
		if err != nil {
			return err
		}
		if i%3 == 0 {
			if err := o.Abort(ctx); err != nil {
				return err
			}
			continue
		}
		if _, err := o.Write([]byte(name)); err != nil {
			return err
		}
		s, err := o.Seal(ctx)
		if err != nil {
			return err
		}
		if err := (FS{}).Publish(ctx, s); err != nil {
			return err
		}
	}
	var shared storage.Sealed
	if err := json.Unmarshal([]byte(os.Getenv("DIVISI_TEST_SEALED")), &shared); err != nil {
		return err
	}
	return FS{}.Publish(ctx, shared)
}

func TestManyProcesses(t *testing.T) {
	dir := t.TempDir()
	text, err := json.Marshal(seal(t, "job7", dir+"/out/shared", "shared"))
	ok(t, err)
	var wg sync.WaitGroup
	for range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "DIVISI_TEST_WRITER="+dir, "DIVISI_TEST_SEALED="+string(text))
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	var files, folders int
	for _, n := range inventory(t, dir) {
		if strings.HasSuffix(n, "/") {
			folders++
			continue
		}
		files++
		if got, _ := os.ReadFile(dir + "/" + n); string(got) != dir+"/"+n && string(got) != "shared" {
			t.Errorf("%s holds %q", n, got)
		}
	}
	if files != 4*40+1 || folders != 3 {
		t.Errorf("%d files and %d folders are left, want %d and 3", files, folders, 4*40+1)
	}
}
