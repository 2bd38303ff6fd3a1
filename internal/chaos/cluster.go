package chaos

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/divisi-data/divisi/internal/faultproxy"
)

// A Process of a cluster.
type Process struct {
	Role, ID string
	PID      int
}

// A Cluster is what faults are done to: its processes run on this machine, and all
// its files lie in one folder, a worker's in one of the worker's name.
type Cluster struct {
	Dir string
	// Processes are the coordinator and the workers as they are now.
	Processes func() []Process
	// Links and Peers are the proxies before the coordinator and before the exchange,
	// by worker. They may be nil.
	Links, Peers map[string]*faultproxy.Proxy
	// Small are folders on small file systems of their own, which can be filled.
	Small []string
}

// A Strike is a fault that was done.
type Strike struct {
	Fault  Fault
	Victim string // "" if there was none
	At     time.Time
	// Noticed is how long the coordinator took to give the victim up, a worker that was
	// killed or stopped; 0: it did not, or the victim is another.
	Noticed time.Duration
	Undo    func() // nil: nothing to undo
}

// String says what was done to whom.
func (s Strike) String() string {
	text := fmt.Sprintf("%s (%s)", s.Fault, s.Victim)
	if s.Victim == "" {
		text = fmt.Sprintf("%s (none there)", s.Fault)
	}
	if s.Noticed > 0 {
		text += fmt.Sprintf(", noticed after %.2f s", s.Noticed.Seconds())
	}
	return text
}

// Strike does a fault.
func (c *Cluster) Strike(f Fault) (Strike, error) {
	s := Strike{Fault: f}
	var err error
	switch f.Kind {
	case Kill, Stop:
		err = c.signal(&s)
	case Link:
		err = onProxy(&s, c.Links)
	case Peers:
		err = onProxy(&s, c.Peers)
	case Delete, Flip:
		err = c.damage(&s)
	case Full:
		err = c.fill(&s)
	case Slow:
		err = c.slow(&s)
	default:
		err = fmt.Errorf("chaos: a fault of kind %q", f.Kind)
	}
	s.At = time.Now()
	return s, err
}

// pick chooses one of n.
func pick(p float64, n int) int { return min(int(p*float64(n)), n-1) }

func (c *Cluster) signal(s *Strike) error {
	var there []Process
	if s.Fault.Role == Host {
		hosts, err := Hosts(c.Dir)
		if err != nil {
			return err
		}
		there = hosts
	} else {
		for _, p := range c.Processes() {
			if p.Role == s.Fault.Role {
				there = append(there, p)
			}
		}
	}
	if len(there) == 0 {
		return nil
	}
	v := there[pick(s.Fault.Pick, len(there))]
	sig := syscall.SIGKILL
	if s.Fault.Kind == Stop {
		sig = syscall.SIGSTOP
		s.Undo = func() { syscall.Kill(v.PID, syscall.SIGCONT) }
	}
	if err := syscall.Kill(v.PID, sig); err != nil {
		s.Undo = nil
		return nil // it has ended just now
	}
	s.Victim = v.ID
	return nil
}

func onProxy(s *Strike, proxies map[string]*faultproxy.Proxy) error {
	names := sorted(proxies)
	if len(names) == 0 {
		return nil
	}
	s.Victim = names[pick(s.Fault.Pick, len(names))]
	p := proxies[s.Victim]
	s.Undo = func() { p.Set(faultproxy.Rules{}) }
	return p.Set(s.Fault.Rules)
}

func sorted(proxies map[string]*faultproxy.Proxy) []string {
	var names []string
	for n := range proxies {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// damage removes a shuffle file or turns over one of its bits. What is being written
// or removed meanwhile does not count.
func (c *Cluster) damage(s *Strike) error {
	files, err := filepath.Glob(filepath.Join(c.Dir, "*", "jobs", "*", "shuffle", "*.data"))
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(name string) bool {
		st, err := os.Stat(name)
		return err != nil || st.Size() == 0
	})
	if len(files) == 0 {
		return nil
	}
	name := files[pick(s.Fault.Pick, len(files))]
	if s.Fault.Kind == Delete {
		err = os.Remove(name)
	} else {
		err = flip(name, s.Fault.Where)
	}
	if os.IsNotExist(err) {
		return nil
	}
	rel, _ := filepath.Rel(c.Dir, name)
	parts := strings.Split(filepath.ToSlash(rel), "/")
	s.Victim = parts[0] + ":" + parts[len(parts)-1]
	return err
}

func flip(name string, where float64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	at := int64(pick(where, int(st.Size())))
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 1 << (at % 8)
	_, err = f.WriteAt(b[:], at)
	return err
}

// filler is the file that fills a small file system.
const filler = "filler"

// fill takes all the room of a small file system.
func (c *Cluster) fill(s *Strike) error {
	if len(c.Small) == 0 {
		return nil
	}
	dir := c.Small[pick(s.Fault.Pick, len(c.Small))]
	s.Victim = filepath.Base(dir)
	name := filepath.Join(dir, filler)
	s.Undo = func() { os.Remove(name) }
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil // not even that: it is full
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for buf := make([]byte, size); ; {
			if _, err := f.Write(buf); err != nil {
				break
			}
		}
	}
	return nil
}

// Text writes files of words into a folder: some words come often and most rarely, as
// in a language. The same seed gives the same text.
func Text(dir string, files, bytes int, seed uint64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 1))
	zipf := rand.NewZipf(r, 1.1, 4, 200_000)
	for i := range files {
		var b []byte
		for n := 0; len(b) < bytes; n++ {
			b = fmt.Appendf(b, "w%x", zipf.Uint64()*2654435761%(1<<32))
			if n%12 == 11 {
				b = append(b, '\n')
			} else {
				b = append(b, ' ')
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("text-%03d.txt", i)), append(b, '\n'), fs.FileMode(0o644)); err != nil {
			return err
		}
	}
	return nil
}
