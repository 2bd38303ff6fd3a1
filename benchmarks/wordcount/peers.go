package wordcount

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/internal/services"
)

// threads is what a peer that has a setting for it gets: the cores that results are
// quoted for.
const threads = 2

const scripts = "benchmarks/wordcount/testdata/"

// peers are the other programs that count the words of in. A script's time has its
// interpreter's start in it, as a job's has its own.
func (b *bench) peers(ctx context.Context) ([]harness.Entry, error) {
	packages := []string{"duckdb==2.0.1", "polars==2.1.0"}
	if b.o.Slow {
		packages = append(packages, "pyspark==4.3.0")
	}
	py := harness.Python{Dir: filepath.Join(b.o.Work, "venv-wordcount"), Packages: packages, Log: b.o.Log}
	if err := py.Install(ctx); err != nil {
		return nil, err
	}
	python, err := filepath.Abs(py.Program("python"))
	if err != nil {
		return nil, err
	}
	entries := []harness.Entry{
		b.plainGo(),
		{
			Name: "DuckDB", Version: py.Version("duckdb"), Command: "string_split, unnest, group by; 2 threads",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", python, scripts+"duckdb_words.py", b.in, b.out("duckdb"), strconv.Itoa(threads))
			},
			Check: b.same("duckdb", ""),
		},
		{
			Name: "Polars", Version: py.Version("polars"), Command: "str.split, explode, group_by; streaming, 2 threads",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", "env", "POLARS_MAX_THREADS="+strconv.Itoa(threads), python, scripts+"polars_words.py", b.in, b.out("polars"))
			},
			Check: b.same("polars", ""),
		},
		{
			Name: "mawk", Version: harness.VersionOf("mawk", "-W", "version"), Command: mawk,
			Run:   func(ctx context.Context) error { return harness.Command(ctx, b.out("mawk"), "mawk", mawk, b.in) },
			Check: b.same("mawk", ""),
		},
		{
			// It finds words and keeps none of them.
			Name: "wc -w", Version: harness.VersionOf("wc", "--version"), Command: "LC_ALL=C wc -w: the words alone, uncounted",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, b.out("wc"), "env", "LC_ALL=C", "wc", "-w", b.in)
			},
		},
	}
	if b.o.Slow {
		slow, err := b.slow(ctx, py)
		return append(entries, slow...), err
	}
	return entries, nil
}

func (b *bench) plainGo() harness.Entry {
	return harness.Entry{
		Name: "plain Go", Version: b.machine.Go, Command: "Scanner, strings.Fields, map",
		Run:   func(ctx context.Context) error { return harness.Command(ctx, b.out("plain"), b.plain, b.in) },
		Check: b.same("plain", ""),
	}
}

// slow are peers that need minutes.
func (b *bench) slow(ctx context.Context, py harness.Python) ([]harness.Entry, error) {
	hadoop, err := services.NewMapReduce(ctx, filepath.Join(b.o.Work, "hadoop"), threads)
	if err != nil {
		return nil, err
	}
	python, err := filepath.Abs(py.Program("python"))
	if err != nil {
		return nil, err
	}
	n := strconv.Itoa(threads)
	return []harness.Entry{
		{
			Name: "Spark", Version: py.Version("pyspark"), Command: "split, explode, groupBy; local[2], 2 GiB",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", "env", "PYSPARK_PYTHON="+python, py.Program("spark-submit"), "--master", "local["+n+"]", "--driver-memory", "2g",
					"--conf", "spark.local.dir="+b.o.Work, "--conf", "spark.ui.enabled=false", "--conf", "spark.sql.shuffle.partitions="+n,
					scripts+"spark_words.py", b.in, b.out("spark"))
			},
			Check: b.same("spark", "/part-*"),
		},
		{
			Name: "Hadoop MapReduce", Version: hadoop.Version, Command: "its example wordcount, with combiner; 2 maps at a time, 2 GiB",
			Run: func(ctx context.Context) error {
				out := b.out("hadoop")
				if err := os.RemoveAll(out); err != nil {
					return err
				}
				return harness.Command(ctx, "", "java", hadoop.Example("wordcount", b.in, out)...)
			},
			Check: b.same("hadoop", "/part-*"),
		},
	}, nil
}

// beam is a peer that is so slow that it gets a text of its own.
func (b *bench) beam(ctx context.Context) (harness.Entry, error) {
	program, err := harness.Binaries{Dir: filepath.Join(b.o.Work, "bin")}.BuildModule(ctx, scripts+"beam")
	return harness.Entry{
		Name: "Beam", Version: "Go SDK " + harness.ModuleVersion(program, "github.com/apache/beam/sdks/v2"), Command: "ParDo, stats.Count; Prism runner in process",
		Run:   func(ctx context.Context) error { return harness.Command(ctx, "", program, b.in, b.out("beam")) },
		Check: b.same("beam", ""),
	}, err
}

const mawk = `{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) printf "%s\t%d\n", w, n[w] }`
