package task

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files are those of a folder, with what they hold.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = string(b)
	}
	return all
}

func TestAttemptLog(t *testing.T) {
	type step struct {
		line string
		end  bool
		show bool
	}
	for name, c := range map[string]struct {
		steps []step
		want  map[string]string
		tail  string
	}{
		"quiet":           {[]step{{line: "begins\n"}, {end: true}, {line: "ends\n"}, {line: "warns\n"}}, map[string]string{"quiet.log": "0-7.1 begins\n0-7.1 ends\n0-7.1 warns\n"}, "begins\nends\nwarns\n"},
		"says something":  {[]step{{line: "begins\n"}, {line: "a\n"}, {end: true}, {line: "ends\n"}}, map[string]string{"0-7.1.log": "begins\na\nends\n"}, "begins\na\nends\n"},
		"fails":           {[]step{{line: "begins\n"}, {line: "fails\n"}}, map[string]string{"0-7.1.log": "begins\nfails\n"}, "begins\nfails\n"},
		"takes a while":   {[]step{{line: "begins\n"}, {show: true}, {show: true}, {end: true}, {line: "ends\n"}}, map[string]string{"0-7.1.log": "begins\nends\n"}, "begins\nends\n"},
		"shown too late":  {[]step{{line: "begins\n"}, {end: true}, {show: true}, {line: "ends\n"}}, map[string]string{"quiet.log": "0-7.1 begins\n0-7.1 ends\n"}, "begins\nends\n"},
		"never got going": {nil, map[string]string{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := &attemptLog{dir: t.TempDir(), attempt: "0-7.1"}
			for _, s := range c.steps {
				switch {
				case s.end:
					l.end()
				case s.show:
					l.show()
				default:
					if n, err := l.Write([]byte(s.line)); n != len(s.line) || err != nil {
						t.Errorf("%q: %d, %v", s.line, n, err)
					}
				}
			}
			if err := l.close(); err != nil {
				t.Error(err)
			}
			got := files(t, l.dir)
			for name, text := range c.want {
				if got[name] != text {
					t.Errorf("%s holds %q, want %q", name, got[name], text)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("files: %v", got)
			}
			if l.tail(100) != c.tail {
				t.Errorf("its end: %q, want %q", l.tail(100), c.tail)
			}
			if n, err := l.Write([]byte("from a goroutine left behind\n")); n == 0 || err != nil {
				t.Errorf("after its end: %d, %v", n, err)
			}
		})
	}
}

// TestAttemptLogWithoutAFile: a failure says what it can where no log can be written.
func TestAttemptLogWithoutAFile(t *testing.T) {
	l := &attemptLog{dir: filepath.Join(t.TempDir(), "not"), attempt: "0-7.1"}
	for range 10_000 {
		if n, err := l.Write([]byte("a line\n")); n != 7 || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := l.close(); err == nil {
		t.Error("it could be kept")
	}
	if len(l.kept) > keptLogBytes || l.tail(17) != strings.Repeat("a line\n", 2) {
		t.Errorf("%d bytes kept; its end: %q", len(l.kept), l.tail(17))
	}
}
