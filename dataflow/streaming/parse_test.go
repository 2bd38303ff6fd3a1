package streaming

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
)

func TestParse(t *testing.T) {
	s, warnings, err := Parse([]string{
		"-D", "mapred.reduce.tasks=9", "-Dmapred.job.name=Count words", "-input", "a,b/{x,y}/*", "-input", "hdfs://nn:8020/c", "-output", "out",
		"-mapper", "/home/me/map.py -v 'a b'", "-combiner", "red.py", "-reducer", "./red.py", "-file", "/home/me/map.py", "-files", "red.py,data/list.txt#words", "-file", "red.py",
		"-cmdenv", "A=1=2", "-cmdenv", "B=", "-jobconf", "x.y=z", "-inputformat", "org.apache.hadoop.mapred.TextInputFormat", "-outputformat", "org.apache.hadoop.mapred.TextOutputFormat",
		"-partitioner", "org.apache.hadoop.mapred.lib.HashPartitioner", "-numReduceTasks", "4", "-lazyOutput", "-verbose", "-io", "text", "-debug",
	})
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	want := Spec{
		Inputs: []string{"a", "b/{x,y}/*", "hdfs://nn:8020/c"}, Output: "out", Mapper: "/home/me/map.py -v 'a b'", Combiner: "red.py", Reducer: "./red.py", Reduces: 4, Verbose: true,
		Properties: []Property{{"mapred.reduce.tasks", "9"}, {"mapred.job.name", "Count words"}, {"x.y", "z"}, {partitionerClass, "org.apache.hadoop.mapred.lib.HashPartitioner"}, {jobReduces, "4"}},
		CmdEnv:     []Property{{"A", "1=2"}, {"B", ""}},
		Files:      []File{{"map.py", "/home/me/map.py"}, {"red.py", "red.py"}, {"words", "data/list.txt"}},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got\n%+v, want\n%+v", s, want)
	}
	if s.Name() != "Count words" {
		t.Errorf("name %q", s.Name())
	}
	r, err := s.resolve()
	if err != nil || !slices.Equal(r.mapper, []string{"map.py", "-v", "a b"}) || !slices.Equal(r.reducer, []string{"red.py"}) {
		t.Errorf("commands %q, %q, %v", r.mapper, r.reducer, err)
	}
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(text)
	s.Verbose = false
	if err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("after a journey %+v, %v", again, err)
	}
}

func TestParseRefuses(t *testing.T) {
	need := []string{"-input", "a", "-output", "b"}
	for want, flags := range map[string][]string{
		"unknown flag -inptu":                   {"-inptu", "a"},
		"unknown flag --mode":                   {"--mode", "replace"},
		`"cat" is no flag`:                      {"cat"},
		"-mapper needs a value: COMMAND":        {"-mapper"},
		"a path is empty":                       {"-input", "a,,b"},
		"is not NAME=VALUE":                     {"-cmdenv", "A"},
		"-D: \"=x\" is not NAME=VALUE":          {"-D", "=x"},
		"a quote ' is not closed":               {"-mapper", "sh -c 'cat"},
		"names no program":                      {"-mapper", "  "},
		"two files are called x":                {"-files", "a/x,b/x"},
		"want PATH or PATH#NAME":                {"-files", "a/x#b/c"},
		"fetch it first":                        {"-files", "hdfs://nn/x"},
		"want a number from 0 on":               {"-numReduceTasks", "-1"},
		"want at most 10000":                    {"-numReduceTasks", "10001"},
		"want a number from 1 on":               {"-D", "stream.num.map.output.key.fields=0"},
		"a separator is not empty":              {"-D", "stream.map.output.field.separator="},
		"want true or false":                    {"-D", "stream.non.zero.exit.is.failure=maybe"},
		"is a Java class":                       {"-mapper", "org.apache.hadoop.mapred.lib.InverseMapper"},
		"only the reducer may be NONE":          {"-mapper", "NONE"},
		"have HashPartitioner, KeyField":        {"-partitioner", "com.me.P"},
		"have TextInputFormat, KeyValue":        {"-inputformat", "SequenceFileInputFormat"},
		"have TextOutputFormat":                 {"-outputformat", "NullOutputFormat"},
		"not in rawbytes":                       {"-io", "rawbytes"},
		"ship files by -files":                  {"-archives", "a.zip"},
		"put the command in the background":     {"-background"},
		"it is not UTF-8":                       {"-mapper", "a\xff"},
		"name them by globs":                    {"-D", "mapred.input.dir.recursive=true"},
		"the codec \"\" is not known here":      {"-D", "mapreduce.output.fileoutputformat.compress=true"},
		"have KeyFieldBasedComparator":          {"-D", "mapred.output.key.comparator.class=com.me.C"},
		`"-x" is not known`:                     {"-D", "mapred.output.key.comparator.class=a.KeyFieldBasedComparator", "-D", "mapred.text.key.comparator.options=-x"},
		"-k0: want FIELD":                       {"-partitioner", "KeyFieldBasedPartitioner", "-D", "mapred.text.key.partitioner.options=-k0"},
		"is a reducer, and a combiner where":    {"-combiner", "aggregate"},
		"a mapper gets lines of text without a": {"-D", "stream.map.input.ignoreKey=false"},
	} {
		_, _, err := Parse(append(slices.Clone(need), flags...))
		if dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", flags, err, want)
		}
	}
	if _, _, err := Parse([]string{"-output", "b"}); err == nil || !strings.Contains(err.Error(), "-input and -output are needed") {
		t.Error(err)
	}
	if _, _, err := Parse([]string{"-mapper", "a", "-help"}); err != ErrHelp {
		t.Error(err)
	}
	var unknown *UnknownFlag
	if _, _, err := Parse([]string{"-inptu", "a"}); !errors.As(err, &unknown) || unknown.Name != "inptu" {
		t.Error(err)
	}
	_, warnings, err := Parse(append(slices.Clone(need), "-D", comparatorOptions+"=-k2", "-D", partitionOptions+"=-k1"))
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "KeyFieldBasedPartitioner") || !strings.Contains(warnings[1], "KeyFieldBasedComparator") {
		t.Errorf("warnings %q, %v", warnings, err)
	}
	for _, name := range Flags() {
		if name != strings.TrimSpace(name) || strings.HasPrefix(name, "-") {
			t.Errorf("flag %q", name)
		}
	}
}

func TestSplitCommand(t *testing.T) {
	for text, want := range map[string][]string{
		"cat":                      {"cat"},
		"  a  b\tc ":               {"a", "b", "c"},
		`awk '{print $1 "x"}'`:     {"awk", `{print $1 "x"}`},
		`a "b 'c'"d'e f' '' "" \g`: {"a", "b 'c'de f", "", "", `\g`},
	} {
		if got, err := splitCommand(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestHash: numbers that Java gives for the same keys.
func TestHash(t *testing.T) {
	for key, want := range map[string]int32{"": 1, "a": 31 + 97, "hello": 28629151 + 99162322, "\xff": 30} {
		if got := partitionOfKey(key); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
	k, err := parseKeyFields(".", "-k1,1 -k3")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int32{"hello.x": 99162322, "hel.x.lo": 99162322, "h.b.ello": 99162322} {
		if got := k.partition(key); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

// TestKeyOrder: the order of keys is that of Unix sort with the same options.
func TestKeyOrder(t *testing.T) {
	sort, err := exec.LookPath("sort")
	if err != nil {
		t.Skip("NOT TESTED: there is no sort here")
	}
	rng := rand.New(rand.NewPCG(8, 8))
	field := func() string {
		switch rng.IntN(8) {
		case 0:
			return fmt.Sprintf("%d", rng.IntN(2000)-1000)
		case 1:
			return fmt.Sprintf("-%d.%d", rng.IntN(3), rng.IntN(1000))
		case 2:
			return fmt.Sprintf("%d.%03d00", rng.IntN(3), rng.IntN(1000))
		case 3:
			return fmt.Sprintf("00%d", rng.Uint64()) + fmt.Sprint(rng.Uint64())
		case 4:
			return []string{"-0", "0", "0.0", ".5", "-.5", "", "- 1", " 7", "x", "3x", "--3", "1e3"}[rng.IntN(12)]
		case 5:
			return string([]byte{byte(1 + rng.IntN(9)), byte(128 + rng.IntN(127))})
		}
		return strings.Repeat("ab", rng.IntN(3)) + string(rune('a'+rng.IntN(3)))
	}
	var keys []string
	for range 3000 {
		keys = append(keys, strings.ReplaceAll(strings.Join([]string{field(), field(), field()}, ":"), "\n", ""))
	}
	for _, options := range []string{"-k1,1", "-k2,2n", "-k2,2nr -k1,1", "-k3", "-k3,3r -k2,2n", "-n", "-nr", "-r", "-r -k1,1 -k2,2n", "-k2", "-k1.2,1.2 -k3,3n", "-k 2,3", "-k1,1n -k1,1"} {
		k, err := parseKeyFields(":", options)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Clone(keys)
		slices.SortStableFunc(got, func(a, b string) int {
			return bytes.Compare(k.appendOrder(nil, a), k.appendOrder(nil, b))
		})
		cmd := exec.Command(sort, append([]string{"-s", "-t:"}, strings.Fields(options)...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		cmd.Stdin = strings.NewReader(strings.Join(keys, "\n") + "\n")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: key %d is %q, want %q", options, i, got[i], want[i])
				break
			}
		}
	}
}

// TestMissingFields: a field that is not there comes before all others, a zero byte
// does not end one, and keys that differ never look alike.
func TestMissingFields(t *testing.T) {
	for options, want := range map[string][]string{
		"-k2,2":       {"z", "y:", "x:\x00", "w:\x00\x00", "v:\x00a", "u:a", "t:a\x00", "s:b"},
		"-k2,2r":      {"s:b", "t:a\x00", "u:a", "v:\x00a", "w:\x00\x00", "x:\x00", "y:", "z"},
		"-k1.3,1.3":   {"ab", "ab:q", "aba", "abb"},
		"-k2,2 -k1,1": {"a", "b", "b:a", "a:b"},
	} {
		k, err := parseKeyFields(":", options)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want[1:] {
			a, b := k.appendOrder(nil, want[i]), k.appendOrder(nil, want[i+1])
			if c := bytes.Compare(a, b); c > 0 || c == 0 && options != "-k1.3,1.3" {
				t.Errorf("%s: %q and %q: %x, %x", options, want[i], want[i+1], a, b)
			}
		}
	}
}

// TestJavaDouble: what Java prints for these numbers.
func TestJavaDouble(t *testing.T) {
	for want, f := range map[string]float64{
		"0.0": 0, "-0.0": math.Copysign(0, -1), "10000.0": 1e4, "9999999.5": 9999999.5, "1.0E7": 1e7, "-1.25E10": -1.25e10,
		"0.001": 1e-3, "9.99E-4": 9.99e-4, "1.7976931348623157E308": math.MaxFloat64, "NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1),
	} {
		if got := javaDouble(f); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}
