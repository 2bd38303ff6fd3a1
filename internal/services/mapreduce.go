package services

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// MapReduce is Hadoop MapReduce in one process on the local file system, without a daemon.
type MapReduce struct {
	// Version is Hadoop's.
	Version string
	line    []string
}

// NewMapReduce installs Hadoop and sets it up in a folder, which it also writes its
// temporary files to. As many map tasks run at a time as threads, and as many reduce tasks
// there are.
func NewMapReduce(ctx context.Context, dir string, threads int) (MapReduce, error) {
	jars, err := hadoop(ctx)
	if err != nil {
		return MapReduce{}, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return MapReduce{}, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return MapReduce{}, err
	}
	site := "<configuration>"
	for name, value := range map[string]any{
		"fs.defaultFS": "file:///", "hadoop.tmp.dir": dir, "mapreduce.framework.name": "local",
		"mapreduce.local.map.tasks.maximum": threads, "mapreduce.local.reduce.tasks.maximum": threads, "mapreduce.job.reduces": threads,
	} {
		site += fmt.Sprintf("<property><name>%s</name><value>%v</value></property>", name, value)
	}
	if err := os.WriteFile(filepath.Join(dir, "core-site.xml"), []byte(site+"</configuration>"), 0o666); err != nil {
		return MapReduce{}, err
	}
	return MapReduce{Version: hadoopVersion, line: jars.java(dir, "2g", 4, "org.apache.hadoop.examples.ExampleDriver")}, nil
}

// Example gives java's arguments that run one of Hadoop's example programs: wordcount IN OUT.
func (m MapReduce) Example(args ...string) []string {
	return append(m.line[:len(m.line):len(m.line)], args...)
}
