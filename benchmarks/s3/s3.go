// Package s3 measures reading from an S3 server on this machine: the words of ten
// thousand small objects beside the same bytes in few, and tables of Parquet and CSV
// beside a program that is nothing but an S3 client and a library's reader.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/benchmarks/wordcount"
	"github.com/divisi-data/divisi/internal/services"
	"github.com/divisi-data/divisi/storage"
	_ "github.com/divisi-data/divisi/storage/s3" // writes the input
)

// Options of the benchmark.
type Options struct {
	Work  string  // folder for data, outputs and the server's files
	Small int     // objects
	Bytes []int64 // of all of them: a row for each
	Large int     // objects of the same bytes
	Rows  int     // of the tables
	Runs  int
	Log   io.Writer
}

type bench struct {
	Options
	server services.S3Server
	bin    harness.Binaries
}

// Run runs it.
func Run(ctx context.Context, o Options) (res harness.Result, err error) {
	res = harness.Result{Name: "s3", Machine: harness.ThisMachine()}
	dir := filepath.Join(o.Work, "s3")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return res, err
	}
	server, stop, err := services.StartS3(ctx, dir)
	if err != nil {
		return res, err
	}
	defer func() {
		stop()
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	for _, v := range server.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return res, err
		}
	}
	b := &bench{Options: o, server: server, bin: harness.Binaries{Dir: filepath.Join(o.Work, "bin")}}
	for _, bytes := range o.Bytes {
		row, err := b.words(ctx, bytes)
		if err != nil {
			return res, err
		}
		res.Rows = append(res.Rows, row)
	}
	for _, format := range []string{"parquet", "csv"} {
		row, err := b.tables(ctx, format)
		if err != nil {
			return res, err
		}
		res.Rows = append(res.Rows, row)
	}
	return res, nil
}

// words counts those of a text that lies in few objects and in many, beside a client that
// does nothing but get them: what many objects cost the server, which is on this machine
// too, and the client's library, nobody can save.
func (b *bench) words(ctx context.Context, bytes int64) (harness.Row, error) {
	none := harness.Row{}
	in, err := wordcount.Text(wordcount.Options{Work: b.Work, Bytes: bytes, Vocabulary: 100_000, Log: b.Log})
	if err != nil {
		return none, err
	}
	text, err := os.ReadFile(in)
	if err != nil {
		return none, err
	}
	whole := len(text)
	divisi, err := b.bin.Build(ctx, "./cmd/divisi")
	if err != nil {
		return none, err
	}
	job, err := b.bin.Build(ctx, "./examples/wordcount")
	if err != nil {
		return none, err
	}
	plain, err := b.bin.Build(ctx, "./benchmarks/wordcount/plain")
	if err != nil {
		return none, err
	}
	counted := filepath.Join(b.Work, "out-s3-truth")
	defer os.Remove(counted)
	if err := harness.Command(ctx, counted, plain, in); err != nil {
		return none, err
	}
	truth, err := harness.Digest(counted)
	if err != nil {
		return none, err
	}
	bare, err := b.bin.Build(ctx, "./benchmarks/s3/bare")
	if err != nil {
		return none, err
	}
	got := filepath.Join(b.Work, "out-s3-bare")
	defer os.Remove(got)
	cluster := &harness.Cluster{Divisi: divisi, Workers: 3, Slots: 1, Memory: "256MiB", Dir: filepath.Join(b.Work, "cluster")}
	out := filepath.Join(b.Work, "out-s3")
	var entries, gets []harness.Entry
	for _, n := range []int{b.Large, b.Small} {
		name := fmt.Sprintf("text-%d-%d", bytes, n)
		uri := fmt.Sprintf("s3://%s/%s", b.server.Bucket, name)
		if err := upload(ctx, uri, text, n); err != nil {
			return none, err
		}
		entries = append(entries, harness.Entry{
			Name: fmt.Sprintf("%d objects", n), Version: "this", Command: "wordcount --cluster … " + uri + " OUT",
			Before: cluster.Start, After: func() error { return errors.Join(cluster.Stop(), os.RemoveAll(out)) },
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", job, "--cluster", cluster.Coordinator, "--mode", "replace", "--progress", "none", uri, out)
			},
			Check: func() error { return harness.SameLines(truth, out+"/part-*") },
		})
		gets = append(gets, harness.Entry{
			Name: fmt.Sprintf("%d objects, bare client", n), Version: "minio-go", Command: "bare get … " + name,
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, got, bare, "get", b.server.Endpoint, b.server.Bucket, name)
			},
			Check: func() error {
				said, err := os.ReadFile(got)
				if want := fmt.Sprintf("%d bytes\n", whole); err == nil && string(said) != want {
					err = fmt.Errorf("the bare client got %q, want %q", said, want)
				}
				return err
			},
		})
	}
	work := fmt.Sprintf("word count of a text in S3, small objects of %d kB, cluster of 3 workers", bytes/int64(b.Small)/1000)
	row := harness.Row{Work: work, Bytes: bytes, Size: fmt.Sprintf("%.2f GB", float64(bytes)/1e9)}
	return harness.Compare(ctx, row, b.Runs, b.Log, append(entries, gets...)...), nil
}

// upload writes a text as n objects, cut at lines.
func upload(ctx context.Context, uri string, text []byte, n int) error {
	fs, name, err := storage.Resolve(ctx, uri)
	if err != nil {
		return err
	}
	creator, ok := storage.As[storage.ConditionalCreator](fs)
	if !ok {
		return fmt.Errorf("%s: %w", uri, storage.ErrUnsupported)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	whole := len(text)
	for i := range n {
		end := min(len(text), max(0, whole*(i+1)/n-(whole-len(text))))
		for end < len(text) && end > 0 && text[end-1] != '\n' {
			end++
		}
		part := text[:end]
		text = text[end:]
		g.Go(func() error { return creator.CreateIfAbsent(ctx, fmt.Sprintf("%s/%06d.txt", name, i), part) })
	}
	return g.Wait()
}

// tables reads one of a format with a bare client and with the engine.
func (b *bench) tables(ctx context.Context, format string) (harness.Row, error) {
	none := harness.Row{}
	scan, err := b.bin.Build(ctx, "./benchmarks/s3/scan")
	if err != nil {
		return none, err
	}
	bare, err := b.bin.Build(ctx, "./benchmarks/s3/bare")
	if err != nil {
		return none, err
	}
	uri := fmt.Sprintf("s3://%s/%s", b.server.Bucket, format)
	fmt.Fprintf(b.Log, "writing %s\n", uri)
	if err := harness.Command(ctx, "", scan, "--progress", "none", "gen", format, strconv.Itoa(b.Rows), uri); err != nil {
		return none, err
	}
	bytes, err := size(ctx, uri)
	if err != nil {
		return none, err
	}
	printed, out := filepath.Join(b.Work, "out-s3-bare"), filepath.Join(b.Work, "out-s3")
	defer os.Remove(printed)
	defer os.RemoveAll(out)
	byBare := func(ctx context.Context) error {
		return harness.Command(ctx, printed, bare, format, b.server.Endpoint, b.server.Bucket, format)
	}
	if err := byBare(ctx); err != nil {
		return none, err
	}
	truth, err := harness.Digest(printed)
	if err != nil {
		return none, err
	}
	row := harness.Row{Work: "every column of a table of " + format + " in S3, in process", Bytes: bytes, Size: fmt.Sprintf("%.2f GB", float64(bytes)/1e9)}
	return harness.Compare(ctx, row, b.Runs, b.Log,
		harness.Entry{
			Name: "bare client", Version: "minio-go, " + map[string]string{"parquet": "arrow-go", "csv": "encoding/csv"}[format], Command: "bare " + format + " …",
			Run: byBare, Check: func() error { return harness.SameLines(truth, printed) },
		},
		harness.Entry{
			Name: "divisi, in process", Version: "this", Command: "scan sum " + format + " " + uri + " OUT",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", scan, "--memory", "512MiB", "--mode", "replace", "--progress", "none", "sum", format, uri, out)
			},
			Check: func() error { return harness.SameLines(truth, out+"/part-*") },
		}), nil
}

// size is how many bytes there are in a folder.
func size(ctx context.Context, uri string) (bytes int64, err error) {
	fs, name, err := storage.Resolve(ctx, uri)
	if err != nil {
		return 0, err
	}
	for info, err := range fs.List(ctx, name) {
		if err != nil {
			return 0, err
		}
		bytes += info.Size
	}
	return bytes, nil
}
