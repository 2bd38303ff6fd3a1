package chaos

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestScheduleComesFromTheSeed(t *testing.T) {
	o := Options{Span: 2 * time.Second}
	kinds := map[Kind]int{}
	for seed := range uint64(200) {
		a := Plan(seed, o)
		if b := Plan(seed, o); !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d gives %v and %v", seed, a, b)
		}
		if seed > 0 && reflect.DeepEqual(a, Plan(seed-1, o)) {
			t.Errorf("seeds %d and %d give the same", seed-1, seed)
		}
		if !slices.IsSortedFunc(a, func(x, y Fault) int { return int(x.At - y.At) }) {
			t.Errorf("seed %d is out of order: %v", seed, a)
		}
		for _, f := range a {
			kinds[f.Kind]++
			if f.At < 0 || f.At > o.Span {
				t.Errorf("%v is outside of the span", f)
			}
			if f.Kind == Stop && (f.For < pauseLeast || f.For > pauseMost) {
				t.Errorf("%v", f)
			}
		}
	}
	for _, k := range Kinds {
		if (kinds[k] == 0) != slices.Contains(asRoot, k) {
			t.Errorf("%s comes %d times", k, kinds[k])
		}
	}
	every := Plan(1, Options{Kinds: []Kind{Kill}, Span: 21 * time.Second, Every: 5 * time.Second})
	if len(every) != 4 || every[3].At != 20*time.Second {
		t.Errorf("every 5 s: %v", every)
	}
}

func TestTextIsTheSeeds(t *testing.T) {
	read := func(seed uint64) string {
		dir := t.TempDir()
		if err := Text(dir, 2, 10_000, seed); err != nil {
			t.Fatal(err)
		}
		var all string
		names, _ := filepath.Glob(filepath.Join(dir, "*.txt"))
		for _, n := range names {
			b, _ := os.ReadFile(n)
			all += string(b)
		}
		return all
	}
	a := read(1)
	if len(a) < 20_000 || a != read(1) || a == read(2) {
		t.Errorf("%d bytes, %v, %v", len(a), a == read(1), a == read(2))
	}
}

func TestCompare(t *testing.T) {
	abc := []string{"a\n", "b\n", "c\n"}
	for _, c := range []struct {
		got  []string
		want string // in what is said
	}{
		{abc, ""},
		{abc[:2], "1 lines are missing"},
		{append(slices.Clone(abc), "c\n"), "1 lines too many"},
		{[]string{"a\n", "x\n", "c\n"}, "line 2 of 3"},
	} {
		if d := Compare(c.got, abc); !strings.Contains(d, c.want) || (d == "") != (c.want == "") {
			t.Errorf("%q: %q", c.got, d)
		}
	}
}

// What is left over must be found, whatever it is.
func TestLeft(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out", "run")
	c := &Cluster{Dir: filepath.Join(dir, "cluster")}
	for _, d := range []string{out, filepath.Join(c.Dir, "worker-1", "jobs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	touch := func(parts ...string) string {
		name := filepath.Join(parts...)
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	touch(out, "_SUCCESS")
	touch(out, "part-00000")
	if left, err := c.Left(out); err != nil || len(left) > 0 {
		t.Fatalf("%v, %v", left, err)
	}
	want := []string{
		touch(c.Dir, "worker-1", "jobs", "j"),
		touch(out, ".part-00000.attempt"),
		touch(filepath.Dir(out), ".divisi-attempts"),
	}
	left, err := c.Left(out)
	slices.Sort(left)
	slices.Sort(want)
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("%v, %v, want %v", left, err, want)
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	shuffle := filepath.Join(dir, "worker-1", "jobs", "j", "shuffle")
	if err := os.MkdirAll(shuffle, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Dir: dir}
	if s, err := c.Strike(Fault{Kind: Flip}); err != nil || s.Victim != "" {
		t.Errorf("nothing to damage: %v, %v", s, err)
	}
	name := filepath.Join(shuffle, "0-0.1.data")
	if err := os.WriteFile(name, make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Strike(Fault{Kind: Flip, Where: 0.5}); err != nil || s.Victim != "worker-1:0-0.1.data" {
		t.Errorf("%v, %v", s, err)
	}
	b, _ := os.ReadFile(name)
	if n := len(b) - strings.Count(string(b), "\x00"); len(b) != 100 || n != 1 {
		t.Errorf("%d of %d bytes are changed", n, len(b))
	}
	if _, err := c.Strike(Fault{Kind: Delete}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestNotice(t *testing.T) {
	c := &Cluster{Dir: t.TempDir()}
	log := `time=2026-01-02T03:04:05.000Z level=INFO msg="worker joined" worker=worker-1
time=2026-01-02T03:04:05.000Z level=INFO msg="worker joined" worker=worker-3
time=2026-01-02T03:04:05.100Z level=WARN msg="worker lost" worker=worker-1 incarnation=x why="earlier"
time=2026-01-02T03:04:07.500Z level=INFO msg="worker joined" worker=worker-1
time=2026-01-02T03:04:08.250Z level=WARN msg="worker lost" worker=worker-1 incarnation=x why="now"
time=2026-01-02T03:04:08.900Z level=WARN msg="worker lost" worker=worker-2 incarnation=y why="another"
time=2026-01-02T03:04:09.500Z level=WARN msg="worker lost" worker=worker-3 incarnation=y why="later"
time=2026-01`
	if err := os.WriteFile(filepath.Join(c.Dir, "coordinator.log"), []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 8, 0, time.UTC)
	kill := Strike{Fault: Fault{Kind: Kill, Role: Worker}, Victim: "worker-1", At: at}
	for _, x := range []struct {
		strikes []Strike
		want    []time.Duration
	}{
		{[]Strike{kill}, []time.Duration{250 * time.Millisecond}},
		// Not again for the second of two, which found the worker gone already.
		{[]Strike{kill, {Fault: kill.Fault, Victim: "worker-1", At: at.Add(300 * time.Millisecond)}}, []time.Duration{250 * time.Millisecond, 0}},
		{[]Strike{{Fault: Fault{Kind: Flip, Role: Worker}, Victim: "worker-3", At: at}}, []time.Duration{0}},
		// A pause that was over long before is not what was noticed.
		{[]Strike{{Fault: Fault{Kind: Stop, Role: Worker, For: 200 * time.Millisecond}, Victim: "worker-3", At: at}}, []time.Duration{0}},
		{[]Strike{{Fault: Fault{Kind: Stop, Role: Worker, For: time.Second}, Victim: "worker-3", At: at}}, []time.Duration{1500 * time.Millisecond}},
		{[]Strike{{Fault: Fault{Kind: Kill, Role: Coordinator}, Victim: "coordinator", At: at.Add(-time.Second)}, kill}, []time.Duration{0, 0}},
	} {
		if err := c.notice(x.strikes); err != nil {
			t.Fatal(err)
		}
		for i, s := range x.strikes {
			if s.Noticed != x.want[i] {
				t.Errorf("%v: want %v", x.strikes, x.want)
			}
		}
	}
}
