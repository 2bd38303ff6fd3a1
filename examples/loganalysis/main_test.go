package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/divisitest"
)

const ordinary = `127.0.0.1 - frank [10/Oct/2025:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326
127.0.0.1 - frank [10/Oct/2025:13:55:59 -0700] "GET /apache_pb.gif HTTP/1.0" 304 -
10.0.0.9 - - [10/Oct/2025:23:55:00 +0300] "POST /a HTTP/1.1" 200 5 "http://example.org/?q=\"x\"" "Agent/1.0 (x; y)"
10.0.0.9 - - [10/Oct/2025:20:56:00 +0000] "GET /b?x=\"1\" HTTP/1.1" 500 0 "-" "-"
2001:db8::1 - - [10/Oct/2025:20:56:01 +0000] "-" 408 -
not a log line
10.0.0.9 - - [99/Oct/2025:20:56:00 +0000] "GET /b HTTP/1.1" 200 0
10.0.0.9 - - [10/Oct/2025:20:56:00 +0000] "GET /b HTTP/1.1" OK 0
10.0.0.9 - - [10/Oct/2025:20:56:00 +0000] "GET /b HTTP/1.1" 200
10.0.0.9 - - [10/Oct/2025:20:56:00 +0000] "GET /b

`

var pattern = regexp.MustCompile(`^\S+ \S+ \S+ \[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)(?: .*)?$`)

// oracle does with a regular expression and maps what the job does.
func oracle(in string, top int) (minutes, urls []string, malformed int64) {
	perMinute, perURL := map[string]int{}, map[string]int{}
	for line := range strings.Lines(in) {
		m := pattern.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		var at time.Time
		var err error
		if m != nil {
			at, err = time.Parse("02/Jan/2006:15:04:05 -0700", m[1])
		}
		if m == nil || err != nil {
			malformed++
			continue
		}
		perMinute[at.UTC().Format("2006-01-02T15:04Z")+"\t"+m[3]]++
		if parts := strings.Split(m[2], " "); len(parts) > 1 {
			perURL[parts[1]]++
		}
	}
	minutes, urls = []string{}, []string{}
	for m, n := range perMinute {
		minutes = append(minutes, fmt.Sprintf("%s\t%d", m, n))
	}
	slices.Sort(minutes)
	for u := range perURL {
		urls = append(urls, u)
	}
	slices.SortFunc(urls, func(a, b string) int { return cmp.Or(perURL[b]-perURL[a], cmp.Compare(a, b)) })
	urls = urls[:min(top, len(urls))]
	for i, u := range urls {
		urls[i] = fmt.Sprintf("%s\t%d", u, perURL[u])
	}
	return minutes, urls, malformed
}

func TestLoganalysis(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	var skewed strings.Builder
	for i := range 5000 {
		url := "/"
		if rnd.IntN(10) == 0 {
			url = fmt.Sprint("/page/", rnd.IntN(40))
		}
		at := time.Unix(1_760_000_000+int64(i/10), 0).In(time.FixedZone("", 3600*rnd.IntN(5)))
		fmt.Fprintf(&skewed, "10.0.0.%d - - [%s] \"GET %s HTTP/1.1\" %d %d\n", rnd.IntN(9), at.Format("02/Jan/2006:15:04:05 -0700"), url, []int{200, 404}[rnd.IntN(2)], i)
	}
	for name, in := range map[string]string{
		"ordinary":  ordinary,
		"empty":     "",
		"one line":  strings.SplitAfter(ordinary, "\n")[0],
		"malformed": "x\ny\n",
		"skewed":    skewed.String(),
	} {
		for _, partitions := range []int{1, 2, 7} {
			t.Run(fmt.Sprintf("%s, %d partitions", name, partitions), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				file, out := filepath.Join(dir, "access.log"), filepath.Join(dir, "out")
				if err := os.WriteFile(file, []byte(in), 0o644); err != nil {
					t.Fatal(err)
				}
				sum, err := divisi.Run(context.Background(), loganalysis, []string{"--top", "3", file, out},
					divisi.Partitions(partitions), divisi.Parallelism(2), divisi.TempDir(dir), divisi.Check())
				if err != nil {
					t.Fatal(err)
				}
				minutes, urls, malformed := oracle(in, 3)
				if got := divisitest.Lines(t, out+"/per-minute"); !slices.Equal(got, minutes) {
					t.Errorf("per minute: got %.300q, want %.300q", got, minutes)
				}
				got, err := os.ReadFile(out + "/top-urls/part-00000")
				if err != nil && len(urls) > 0 {
					t.Error(err)
				}
				if want := strings.Join(append(urls, ""), "\n"); string(got) != want {
					t.Errorf("top: got %q, want %q", got, want)
				}
				if n := sum.Counters["malformed lines"]; n != malformed {
					t.Errorf("%d malformed lines, want %d", n, malformed)
				}
			})
		}
	}
}
