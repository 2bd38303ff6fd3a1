package web

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

var funcs = template.FuncMap{
	"bytes":    formatBytes,
	"count":    formatCount,
	"state":    stateName,
	"percent":  func(f float64) string { return fmt.Sprintf("%.0f", 100*min(max(f, 0), 1)) },
	"progress": progress,
	"took":     took,
	"clock":    func(nanos int64) string { return time.Unix(0, nanos).UTC().Format("15:04:05.000") },
	"plain":    plain,
	"first":    firstLine,
}

// formatBytes is "1.5 GiB".
func formatBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1024, 0
	for f >= 1024 && u < len(units)-1 {
		f /= 1024
		u++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}

// formatCount groups digits by thousands.
func formatCount(n int64) string {
	s := fmt.Sprint(n)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(c)
	}
	if neg {
		return "-" + b.String()
	}
	return b.String()
}

// stateName is "succeeded".
func stateName(s pb.JobState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "JOB_STATE_"))
}

// progress of a job: the share of its known tasks' work, stages weighing alike.
func progress(j *pb.JobStatus) float64 {
	if j.State == pb.JobState_JOB_STATE_SUCCEEDED {
		return 1
	}
	if len(j.Stages) == 0 {
		return 0
	}
	var sum float64
	for _, s := range j.Stages {
		if s.State == "done" {
			sum++
		} else {
			sum += min(max(s.Fraction, 0), 1)
		}
	}
	return sum / float64(len(j.Stages))
}

// took is the time between two instants; up to now when the second is not yet.
func took(now time.Time, from, to int64) string {
	if from == 0 {
		return ""
	}
	end := now
	if to != 0 {
		end = time.Unix(0, to)
	}
	d := max(end.Sub(time.Unix(0, from)), 0)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// plain shows what is not printable, and what turns text around, for what it is.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return plain(s)
}
