package services

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// maven gives a folder of the cache with the jars of some artifacts, each
// group:artifact:version, and of what they need to run.
func maven(ctx context.Context, folder string, artifacts ...string) (string, error) {
	return installed(ctx, folder, func(ctx context.Context, into string) error {
		if _, err := exec.LookPath("mvn"); err != nil {
			return fmt.Errorf("%w (Debian: maven)", err)
		}
		work, err := os.MkdirTemp(filepath.Dir(into), "maven-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		var pom bytes.Buffer
		pom.WriteString("<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>" +
			"<groupId>local</groupId><artifactId>services</artifactId><version>1</version><packaging>pom</packaging><dependencies>\n")
		for _, a := range artifacts {
			part := strings.Split(a, ":")
			fmt.Fprintf(&pom, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n", part[0], part[1], part[2])
		}
		pom.WriteString("</dependencies></project>\n")
		if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom.Bytes(), 0o666); err != nil {
			return err
		}
		var last error
		for range 2 { // what a registry answered badly once is remembered unless asked again (-U)
			cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "-U", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+into)
			cmd.Dir, cmd.WaitDelay = work, 10*time.Second
			out, err := cmd.CombinedOutput()
			if err == nil {
				return nil
			}
			last = fmt.Errorf("mvn: %w\n%s", err, tail(out, 2000))
		}
		return last
	})
}
