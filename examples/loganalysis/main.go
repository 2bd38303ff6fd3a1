// Loganalysis counts what is in the access logs of web servers, in Common or
// Combined Log Format:
//
//	loganalysis [--top N] IN... OUT
//
// OUT/per-minute has a line for each minute (UTC) and status: minute, status and
// count, tabs between them, in any order. OUT/top-urls has the N URLs (10) asked for
// most often, and how often, the first one first; of URLs asked for equally often
// the one that sorts first. Lines that are no log lines are left out and counted in
// the counter "malformed lines".
package main

import (
	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(loganalysis) }

// A fact is what is counted: either a minute and status, or a URL.
type fact struct {
	Minute string
	Status int32
	URL    string
}

// A perMinute is a line of the output of that name.
type perMinute struct {
	Minute string
	Status int32
	Count  int64
}

// A rank orders URLs: smaller ones come first.
type rank struct {
	Less int64 // than 0, by how often the URL was asked for
	URL  string
}

func loganalysis(j *df.Job) {
	top := j.Int("top", 10, "how many URLs")
	args := j.Args()
	if len(args) < 2 {
		j.Errorf("usage: loganalysis [--top N] IN... OUT")
		return
	}
	in, out := args[:len(args)-1], args[len(args)-1]

	// Both results come from one count, so that the logs are read once.
	facts := df.FlatMapTask(df.Read(j, df.Lines(in...)), func(t *df.Task) func(string, df.Emit[fact]) {
		malformed := t.Counter("malformed lines")
		return func(line string, emit df.Emit[fact]) {
			e, ok := parse(line)
			if !ok {
				malformed.Inc()
				return
			}
			emit(fact{Minute: e.minute, Status: e.status})
			if e.url != "" {
				emit(fact{URL: e.url})
			}
		}
	})
	counts := df.Count(facts)

	minutes := df.Filter(counts, func(p df.Pair[fact, int64]) bool { return p.Key.Minute != "" })
	df.Write(df.Map(minutes, func(p df.Pair[fact, int64]) perMinute {
		return perMinute{p.Key.Minute, p.Key.Status, p.Value}
	}), df.TSV[perMinute](out+"/per-minute"))

	urls := df.FlatMap(counts, func(p df.Pair[fact, int64], emit df.Emit[df.Pair[string, int64]]) {
		if p.Key.Minute == "" {
			emit(df.KV(p.Key.URL, p.Value))
		}
	})
	best := df.BottomN(urls, top, func(p df.Pair[string, int64]) rank { return rank{-p.Value, p.Key} })
	df.Write(best, df.TSV[df.Pair[string, int64]](out+"/top-urls"))
}
