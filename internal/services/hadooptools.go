package services

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	avroToolsVersion  = "1.12.2"
	parquetCLIVersion = "1.15.2"
	// toolWithin bounds one run of a tool.
	toolWithin = 5 * time.Minute
)

// HadoopTools are Hadoop's own command line and those of its file formats, without a
// server: the local file system.
type HadoopTools struct {
	jars          hadoopJars
	conf          string
	avro, parquet string // folders of jars
}

// Hadoop gives Hadoop's tools for the length of a test.
func Hadoop(t testing.TB) *HadoopTools {
	t.Helper()
	notShort(t)
	jars, err := hadoop(t.Context())
	unless(t, err)
	h := &HadoopTools{jars: jars, conf: t.TempDir()}
	h.avro, err = maven(t.Context(), "avro-"+avroToolsVersion, "org.apache.avro:avro-tools:"+avroToolsVersion)
	unless(t, err)
	h.parquet, err = maven(t.Context(), "parquet-"+parquetCLIVersion, "org.apache.parquet:parquet-cli:"+parquetCLIVersion)
	unless(t, err)
	for name, text := range map[string]string{
		"core-site.xml": "<configuration/>",
		"log4j.properties": "log4j.rootLogger=ERROR,console\nlog4j.appender.console=org.apache.log4j.ConsoleAppender\n" +
			"log4j.appender.console.target=System.err\nlog4j.appender.console.layout=org.apache.log4j.SimpleLayout\n",
	} {
		if err := os.WriteFile(filepath.Join(h.conf, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// FS runs the file system shell, as `hadoop fs`, and gives what it printed.
func (h *HadoopTools) FS(ctx context.Context, args ...string) (string, error) {
	return h.run(ctx, h.jars.hadoop, "org.apache.hadoop.fs.FsShell", args...)
}

// Avro runs one of the avro-tools.
func (h *HadoopTools) Avro(ctx context.Context, args ...string) (string, error) {
	return h.run(ctx, h.avro, "org.apache.avro.tool.Main", args...)
}

// Parquet runs a command of parquet-cli.
func (h *HadoopTools) Parquet(ctx context.Context, args ...string) (string, error) {
	return h.run(ctx, h.parquet+"/*:"+h.jars.hadoop, "org.apache.parquet.cli.Main", args...)
}

// Program runs a program of one Java file on Hadoop's own libraries.
func (h *HadoopTools) Program(ctx context.Context, source string, args ...string) (string, error) {
	return h.run(ctx, h.jars.hadoop, source, args...)
}

// run runs a class, or a source file, with a folder of jars.
func (h *HadoopTools) run(ctx context.Context, jars, class string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolWithin)
	defer cancel()
	line := h.jars.java(h.conf, "512m", 1, class)
	for i := range line {
		if line[i] == "-cp" {
			line[i+1] = h.conf + ":" + jars + "/*"
		}
	}
	cmd := exec.CommandContext(ctx, "java", append(line, args...)...)
	cmd.WaitDelay = time.Second
	tie(cmd)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %w: %s", class, strings.Join(args, " "), err, tail(exit.Stderr, 2000))
	}
	return string(out), err
}
