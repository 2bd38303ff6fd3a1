package services

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// hadoopVersion is the newest release of which the registry has the servers, the
// MapReduce examples and streaming alike.
const hadoopVersion = "3.4.2"

// bindingSocketFactory makes the connections of a DataNode leave from its own
// loopback address; see there.
//
//go:embed java/BindingSocketFactory.java
var bindingSocketFactory []byte

// hadoopJars are the folders of the cache with Hadoop's jars and with ours.
type hadoopJars struct{ hadoop, own string }

// hadoop installs Hadoop.
func hadoop(ctx context.Context) (hadoopJars, error) {
	for _, tool := range []string{"java", "javac"} {
		if _, err := exec.LookPath(tool); err != nil {
			return hadoopJars{}, fmt.Errorf("%w (Debian: default-jdk-headless)", err)
		}
	}
	artifacts := []string{"org.lz4:lz4-java:1.8.0"}
	for _, a := range []string{"common", "hdfs", "hdfs-client", "mapreduce-examples", "mapreduce-client-jobclient",
		"mapreduce-client-common", "streaming", "distcp"} {
		artifacts = append(artifacts, "org.apache.hadoop:hadoop-"+a+":"+hadoopVersion)
	}
	jars, err := maven(ctx, "hadoop-"+hadoopVersion, artifacts...)
	if err != nil {
		return hadoopJars{}, err
	}
	own, err := installed(ctx, "hadoop-own-"+hadoopVersion, func(ctx context.Context, into string) error {
		source := filepath.Join(into, "BindingSocketFactory.java")
		if err := os.WriteFile(source, bindingSocketFactory, 0o666); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "javac", "-nowarn", "-cp", jars+"/*", "-d", into, source).CombinedOutput(); err != nil {
			return fmt.Errorf("javac: %w\n%s", err, tail(out, 2000))
		}
		// The servers insist on the folders of their web pages, which the jars do not
		// carry; WebHDFS and /jmx need no page.
		const page = `<web-app xmlns="http://java.sun.com/xml/ns/javaee" version="2.5"></web-app>`
		for _, app := range []string{"hdfs", "datanode", "journal", "secondary", "static"} {
			dir := filepath.Join(into, "webapps", app, "WEB-INF")
			if err := os.MkdirAll(dir, 0o777); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "web.xml"), []byte(page), 0o666); err != nil {
				return err
			}
		}
		return nil
	})
	return hadoopJars{jars, own}, err
}

// java is the command line that runs a class with a configuration folder. tier is
// how far its code is compiled: 1 starts fast, 4 runs fast.
func (j hadoopJars) java(conf, heap string, tier int, class string) []string {
	args := []string{"-XX:+UseSerialGC", "-XX:+IgnoreUnrecognizedVMOptions", "-Djava.net.preferIPv4Stack=true",
		"-Xmx" + heap, fmt.Sprintf("-XX:TieredStopAtLevel=%d", tier)}
	// Hadoop reflects into the JDK, which wants to be told.
	for _, open := range []string{"lang", "io", "net", "nio", "util", "util.concurrent"} {
		args = append(args, "--add-opens=java.base/java."+open+"=ALL-UNNAMED")
	}
	args = append(args, "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-exports=java.base/sun.net.dns=ALL-UNNAMED",
		"--add-exports=java.base/sun.net.util=ALL-UNNAMED")
	return append(args, "-cp", strings.Join([]string{conf, j.own, j.hadoop + "/*"}, ":"), class)
}
