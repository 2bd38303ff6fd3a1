package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/divisi-data/divisi/internal/client"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// Progress modes, as the flag --progress names them.
const (
	ProgressAuto  = "auto" // a bar on a terminal, plain lines elsewhere
	ProgressBar   = "bar"
	ProgressPlain = "plain"
	ProgressNone  = "none"
)

// plainEvery is the time between two plain lines while nothing changes.
const plainEvery = 10 * time.Second

// A Progress shows how far a job has come. It is used by one goroutine.
type Progress struct {
	w     io.Writer
	mode  string
	width int
	now   func() time.Time

	begin, last time.Time
	seen        string // what the last plain line told
	drawn       bool   // a bar is on the screen
}

// NewProgress shows progress on w. Mode auto looks whether w is a terminal.
func NewProgress(w io.Writer, mode string) (*Progress, error) {
	p := &Progress{w: w, mode: mode, width: 80, now: time.Now}
	f, isFile := w.(*os.File)
	tty := isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
	if tty {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			p.width = n
		}
	}
	switch mode {
	case ProgressAuto, "":
		p.mode = ProgressPlain
		if tty {
			p.mode = ProgressBar
		}
	case ProgressBar, ProgressPlain, ProgressNone:
	default:
		return nil, Exitf(Usage, "--progress %s: want auto, bar, plain or none", mode)
	}
	p.begin = p.now()
	return p, nil
}

// Show tells of a job's status: a bar is drawn anew, a plain line is written when
// the job's state or stages have changed, or each ten seconds.
func (p *Progress) Show(s *pb.JobStatus) {
	switch p.mode {
	case ProgressBar:
		line := p.bar(s)
		if n := p.width - 1; len([]rune(line)) > n {
			line = string([]rune(line)[:n])
		}
		fmt.Fprintf(p.w, "\r\x1b[2K%s", line)
		p.drawn = true
		if client.Ended(s.State) {
			p.End()
		}
	case ProgressPlain:
		seen := phase(s)
		if now := p.now(); seen != p.seen || now.Sub(p.last) >= plainEvery {
			p.seen, p.last = seen, now
			fmt.Fprintln(p.w, p.plain(s))
		}
	}
}

// End leaves the bar's line, so that others may write.
func (p *Progress) End() {
	if p.drawn {
		fmt.Fprintln(p.w)
		p.drawn = false
	}
}

// Note writes a line beside the progress.
func (p *Progress) Note(format string, a ...any) {
	if p.w == nil {
		return
	}
	p.End()
	fmt.Fprintf(p.w, format+"\n", a...)
}

func phase(s *pb.JobStatus) string {
	var b strings.Builder
	b.WriteString(State(s.State) + s.Waiting)
	for _, st := range s.Stages {
		b.WriteString(" " + st.State)
	}
	return b.String()
}

// fraction of the job, 0..1: its stages count alike.
func fraction(s *pb.JobStatus) float64 {
	if s.State == pb.JobState_JOB_STATE_SUCCEEDED {
		return 1
	}
	if len(s.Stages) == 0 {
		return 0
	}
	var sum float64
	for _, st := range s.Stages {
		if st.State == "done" {
			sum++
			continue
		}
		sum += min(max(st.Fraction, 0), 1)
	}
	return sum / float64(len(s.Stages))
}

// current is the first stage that is not done.
func current(s *pb.JobStatus) *pb.StageStatus {
	for _, st := range s.Stages {
		if st.State == "running" {
			return st
		}
	}
	for _, st := range s.Stages {
		if st.State != "done" {
			return st
		}
	}
	return nil
}

func stageText(s *pb.JobStatus) string {
	st := current(s)
	if st == nil || client.Ended(s.State) {
		return ""
	}
	text := fmt.Sprintf("stage %d/%d %s", st.Id+1, len(s.Stages), Plain(st.Name))
	if st.Tasks > 0 {
		text += fmt.Sprintf(" %d/%d tasks", st.Done, st.Tasks)
	}
	return text
}

func (p *Progress) tail(s *pb.JobStatus) string {
	var parts []string
	if t := stageText(s); t != "" {
		parts = append(parts, t)
	}
	if s.Waiting != "" && !client.Ended(s.State) {
		parts = append(parts, Plain(s.Waiting))
	}
	if n := SourceBytes(s.GetStats()); n > 0 {
		text := "read " + Bytes(n)
		if d := p.now().Sub(p.begin).Seconds(); d >= 0.1 {
			text += " (" + Bytes(int64(float64(n)/d)) + "/s)"
		}
		parts = append(parts, text)
	}
	if s.Retries > 0 {
		parts = append(parts, Count(s.Retries)+" retries")
	}
	return strings.Join(parts, ", ")
}

func (p *Progress) bar(s *pb.JobStatus) string {
	const cells = 20
	f := fraction(s)
	n := int(f * cells)
	return fmt.Sprintf("%s %s [%s%s] %3.0f%% %s", Plain(s.Name), State(s.State),
		strings.Repeat("#", n), strings.Repeat(".", cells-n), f*100, p.tail(s))
}

func (p *Progress) plain(s *pb.JobStatus) string {
	line := fmt.Sprintf("%6.1f s  %s  %s %3.0f%%", p.now().Sub(p.begin).Seconds(), Plain(s.Name), State(s.State), fraction(s)*100)
	if t := p.tail(s); t != "" {
		line += "  " + t
	}
	return line
}
