//go:build unix

package streaming_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// javaHash is Hadoop's HashPartitioner on keys of ASCII and others.
func javaHash(key string, parts int) int {
	h := int32(1)
	for _, c := range []byte(key) {
		h = h*31 + int32(int8(c))
	}
	return int(h&0x7fffffff) % parts
}

// TestWordCount: the scripts of every tutorial, unchanged; what they make is what they
// make in a pipe of the shell, at any number of reducers, with a combiner and without,
// and each word is in the part that Hadoop puts it in.
func TestWordCount(t *testing.T) {
	for name, in := range map[string][]string{
		"prose": {prose(1, 3000), "", prose(3, 500)}, "one line": {"a b a"}, "empty": {""}, "one word": {strings.Repeat("x x x x\n", 5000)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, in...)
			b.python()
			want := b.shell("cat in-*.txt | ./mapper.py | sort | ./reducer.py")
			for _, reduces := range []int{1, 2, 7} {
				for _, combiner := range []string{"", "python3 reducer.py"} {
					if (combiner != "") != (reduces == 2) && (len(in) == 1 || combiner != "") {
						continue // not all need be tried in every way
					}
					if len(in) == 1 && reduces == 7 {
						continue
					}
					name := fmt.Sprintf("%d reducers, combiner %q", reduces, combiner)
					flags := []string{"-files", "mapper.py,reducer.py", "-mapper", "python3 mapper.py", "-reducer", "reducer.py", "-numReduceTasks", fmt.Sprint(reduces)}
					if combiner != "" {
						flags = append(flags, "-combiner", combiner)
					}
					parts, _ := b.run(flags...)
					if len(parts) > reduces || len(in) > 1 && len(parts) < reduces {
						t.Fatalf("%s: %d parts", name, len(parts))
					}
					b.same(name, sortedLines(parts), slices.Sorted(slices.Values(want)))
					if reduces == 1 {
						b.same(name+", in order", slices.Concat(parts...), want)
					}
					for i, part := range parts {
						for _, line := range part {
							if word, _, _ := strings.Cut(line, "\t"); javaHash(word, reduces) != i {
								t.Errorf("%s: %q is in part %d", name, line, i)
							}
						}
						if !slices.IsSorted(part) { // no word begins with another and a byte below the tab
							t.Errorf("%s: part %d is not in order", name, i)
						}
					}
				}
			}
		})
	}
}

// TestLinesPass: what has no key, no value, odd bytes or many tabs comes through.
func TestLinesPass(t *testing.T) {
	b := newBench(t, "b\t2\na\n\nb\t1\tx\n\xff\xfe\tq\na\t\n", "last without an end")
	sorted := b.shell("for f in in-*.txt; do cat $f; echo; done | sed '/^$/d' | sort; echo") // one empty line
	for _, flags := range [][]string{{"-mapper", "cat"}, {}, {"-mapper", "org.apache.hadoop.mapred.lib.IdentityMapper", "-reducer", "org.apache.hadoop.mapred.lib.IdentityReducer"}} {
		parts, _ := b.run(flags...)
		b.same(fmt.Sprint(flags), sortedLines(parts), slices.Sorted(slices.Values(sorted)))
	}
	// A reducer always gets a separator, as from Hadoop.
	parts, _ := b.run("-mapper", "cat", "-reducer", "cat")
	b.same("cat", parts[0], []string{"\t", "a\t", "a\t", "b\t1\tx", "b\t2", "last without an end\t", "\xff\xfe\tq"})
	for _, flags := range [][]string{{"-reducer", "NONE"}, {"-numReduceTasks", "0", "-reducer", "cat"}, {"-D", "mapred.reduce.tasks=0"}} {
		parts, _ := b.run(append(flags, "-mapper", "sed 's/a/A A/'")...)
		b.same(fmt.Sprint(flags), sortedLines(parts), slices.Sorted(slices.Values(b.shell("for f in in-*.txt; do cat $f; echo; done | sed '/^$/d' | sed 's/a/A A/'; echo"))))
	}
}

// TestNothing: reducers of no lines run, and so does the mapper of an empty file's task.
func TestNothing(t *testing.T) {
	b := newBench(t, "")
	parts, _ := b.run("-mapper", "cat", "-reducer", "sh -c 'wc -l | tr -d \" \"'", "-numReduceTasks", "3")
	b.same("wc", slices.Concat(parts...), []string{"0", "0", "0"})
	b = &bench{t: t, dir: b.dir, n: b.n}
	b.write("in-0.txt", prose(4, 20000))
	parts, _ = b.run("-mapper", "sh -c 'exec <&-; echo did not read'", "-reducer", "NONE")
	if got := slices.Compact(slices.Concat(parts...)); len(got) != 1 || got[0] != "did not read" {
		t.Errorf("got %q", got)
	}
}

// TestSecondarySort: partitioned by the user alone, sorted by user and, in numbers, the
// later first; the oracle is Unix sort.
func TestSecondarySort(t *testing.T) {
	var in strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&in, "user%d\t%d\tpage%d\n", i*i%37, i*7919%5000-1000, i%11)
	}
	b := newBench(t, in.String())
	comparator := []string{"-D", "mapreduce.job.output.key.comparator.class=org.apache.hadoop.mapreduce.lib.partition.KeyFieldBasedComparator",
		"-D", "stream.num.map.output.key.fields=2", "-D", "mapreduce.partition.keycomparator.options=-k1,1 -k2,2nr"}
	parts, _ := b.run(append(comparator, "-mapper", "cat")...)
	b.same("one reducer", parts[0], b.shell("sort -t \"$(printf '\\t')\" -k1,1 -k2,2nr -k3 in-0.txt"))
	want := b.shell("sort -t \"$(printf '\\t')\" -k1,1 -k2,2nr -k3 in-0.txt | awk -f visits.awk")
	for _, reduces := range []int{1, 2, 7} {
		parts, _ = b.run(append(comparator, "-mapper", "cat", "-file", "visits.awk", "-reducer", "awk -f visits.awk", "-numReduceTasks", fmt.Sprint(reduces),
			"-partitioner", "org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner", "-D", "mapreduce.partition.keypartitioner.options=-k1,1")...)
		b.same(fmt.Sprint(reduces), sortedLines(parts), slices.Sorted(slices.Values(want)))
	}
}

// TestSideDataAndCounters: a mapper reads a file that was shipped under another name,
// and what it counts is exact.
func TestSideDataAndCounters(t *testing.T) {
	b := newBench(t, prose(5, 2000), prose(6, 2000))
	b.python()
	b.write("words", "the a\nword9")
	parts, sum := b.run("-files", "stopwords.py,words#stopwords.txt", "-mapper", "python3 stopwords.py", "-reducer", "aggregate", "-numReduceTasks", "2", "-D", "stream.non.zero.exit.is.failure=true",
		"-combiner", "aggregate", "-mapper", "sh -c 'python3 stopwords.py | sed s/^/LongValueSum:/'")
	want := b.shell(`cat in-*.txt | tr -s ' \t' '\n\n' | sed '/^$/d' | grep -vx -e the -e a -e word9 | sort | uniq -c | awk '{print $2 "\t" $1}'`)
	b.same("words", sortedLines(parts), slices.Sorted(slices.Values(want)))
	stopped := b.shell(`cat in-*.txt | tr -s ' \t' '\n\n' | grep -cx -e the -e a -e word9`)
	if got := map[string]int64{"Words.Stopped": sum.Counters["Words.Stopped"]}; fmt.Sprint(got["Words.Stopped"]) != stopped[0] {
		t.Errorf("counters %v, want %s", maps.Clone(sum.Counters), stopped[0])
	}
}

// TestEnvironment: properties, -cmdenv and the task's own variables; a mapper runs for
// each file although small files share a task, and a reducer's number is its part's.
func TestEnvironment(t *testing.T) {
	b := newBench(t, "a\nb\n", "c\n", "d\n")
	parts, _ := b.run("-mapper", `awk '{n++; print ENVIRON["map_input_file"] " " ENVIRON["mapreduce_map_input_file"] " " n " " $0}'`, "-reducer", "NONE")
	var want []string
	for i, text := range [][]string{{"1 a", "2 b"}, {"1 c"}, {"1 d"}} {
		for _, l := range text {
			name := b.path(fmt.Sprintf("in-%d.txt", i))
			want = append(want, name+" "+name+" "+l)
		}
	}
	b.same("files", sortedLines(parts), want)
	parts, _ = b.run("-mapper", "cat", "-reducer", `sh -c 'cat >/dev/null; echo "$mapreduce_task_partition $mapreduce_task_ismap $my_own_setting $mapreduce_job_reduces $mapred_reduce_tasks $mapreduce_job_name <$GREETING>"'`,
		"-cmdenv", "GREETING=hello  world", "-D", "my.own-setting=x=y", "-D", "mapred.reduce.tasks=3", "-D", "mapred.job.name=Greet")
	b.same("reducers", slices.Concat(parts...), []string{
		"0 false x=y 3 3 Greet <hello  world>", "1 false x=y 3 3 Greet <hello  world>", "2 false x=y 3 3 Greet <hello  world>"})
}

// TestSeparators: each that Hadoop knows.
func TestSeparators(t *testing.T) {
	b := newBench(t, "a.b.c.d\nx.y\na.b.z\n")
	for _, c := range []struct {
		flags, want []string
	}{
		{[]string{"-D", "stream.map.output.field.separator=."}, []string{"a\tb.c.d", "a\tb.z", "x\ty"}},
		{[]string{"-D", "stream.map.output.field.separator=.", "-D", "stream.num.map.output.key.fields=2"}, []string{"a.b\tc.d", "a.b\tz", "x.y"}},
		{[]string{"-D", "stream.map.output.field.separator=.", "-reducer", "NONE", "-mapper", "cat"}, []string{"a\tb.c.d", "x\ty", "a\tb.z"}},
		{[]string{"-D", "stream.map.output.field.separator=.", "-D", "stream.reduce.input.field.separator=<>", "-reducer", "cat"}, []string{"a<>b.c.d", "a<>b.z", "x<>y"}},
		{[]string{"-D", "stream.reduce.output.field.separator=.", "-D", "stream.num.reduce.output.key.fields=2", "-D", "mapred.textoutputformat.separator=|", "-reducer", "sed 's/\t$//'"}, []string{"a.b|c.d", "a.b|z", "x.y"}},
		{[]string{"-inputformat", "KeyValueTextInputFormat", "-D", "key.value.separator.in.input.line=.", "-mapper", "cat", "-reducer", "NONE"}, []string{"a\tb.c.d", "x\ty", "a\tb.z"}},
		{[]string{"-inputformat", "KeyValueTextInputFormat", "-D", "key.value.separator.in.input.line=.b", "-D", "stream.map.input.field.separator=/", "-mapper", "cat", "-reducer", "NONE"}, []string{"a/.c.d", "x.y/", "a/.z"}},
		{[]string{"-inputformat", "org.apache.hadoop.mapred.KeyValueTextInputFormat", "-D", "key.value.separator.in.input.line=.", "-reducer", "cat"}, []string{"a\tb.c.d", "a\tb.z", "x\ty"}},
	} {
		parts, _ := b.run(c.flags...)
		b.same(strings.Join(c.flags, " "), slices.Concat(parts...), c.want)
	}
}

func TestAggregate(t *testing.T) {
	b := newBench(t, "LongValueSum:n\t3\nLongValueSum:n\t-5\nLongValueMax:n\t3\nLongValueMax:n\t20\nLongValueMin:n\t3\nLongValueMin:n\t20\nDoubleValueSum:d\t0.5\nDoubleValueSum:d\t1e1\n"+
		"StringValueMax:s\tb\nStringValueMax:s\ta\nStringValueMin:s\tb\nStringValueMin:s\ta\nUniqValueCount:u\tx\nUniqValueCount:u\ty\nUniqValueCount:u\tx\n")
	parts, _ := b.run("-reducer", "aggregate")
	b.same("all", parts[0], []string{"d\t10.5", "n\t20", "n\t3", "n\t-2", "s\tb", "s\ta", "u\t2"})
	b.write("in-0.txt", "LongValueSum:n\tmany\n")
	if _, _, err := b.try("-reducer", "aggregate"); err == nil || !strings.Contains(err.Error(), `"many" is no 64-bit integer`) {
		t.Errorf("no number: %v", err)
	}
	b.write("in-0.txt", "a\t1\n")
	if _, _, err := b.try("-reducer", "aggregate"); err == nil || !strings.Contains(err.Error(), `"a" names no function`) {
		t.Errorf("no function: %v", err)
	}
}

func TestCompression(t *testing.T) {
	b := newBench(t)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write([]byte("b\na\n"))
	w.Close()
	b.write("in.gz", z.String())
	parts, _ := b.run("-input", b.path("in.gz"), "-D", "mapreduce.output.fileoutputformat.compress=true", "-D", "mapred.output.compression.codec=org.apache.hadoop.io.compress.GzipCodec")
	b.same("gzip", parts[0], []string{"a", "b"})
}

// TestFailures: a program that ends badly is tried four times, and its last words are
// the job's error; with the property set, its exit status means nothing.
func TestFailures(t *testing.T) {
	b := newBench(t, "a\n", "b\n")
	script := `sh -c 'cat; echo "one: $mapreduce_task_attempt_id" >&2; echo "disk on fire" >&2; exit 3'`
	_, sum, err := b.try("-mapper", script)
	for _, text := range []string{"failed 4 times", "exit status 3", "disk on fire", "one: attempt_", "cat; echo"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in %v", text, err)
		}
	}
	if sum.State != "failed" || sum.Retries < 3 {
		t.Errorf("%+v", sum)
	}
	parts, _ := b.run("-mapper", script, "-D", "stream.non.zero.exit.is.failure=false")
	b.same("any exit", parts[0], []string{"a", "b"})
	if _, _, err := b.try("-mapper", "no-such-program"); err == nil || !strings.Contains(err.Error(), "ship it with the job") {
		t.Errorf("no such program: %v", err)
	}
}
