// Package web is the pages a coordinator serves: jobs, one job with its stages, and
// workers, live. It reads what the coordinator shows and changes nothing: GET and
// HEAD only, no inline script, every name from outside escaped.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A Reader is what the pages show. Its answers are the reader's own: the pages do
// not change them. Methods may be called from many goroutines.
type Reader interface {
	Cluster() string
	Jobs() []*pb.JobStatus // newest first
	Job(id string) (*pb.JobStatus, bool)
	Events(job string, last int) []*pb.Event // the newest ones, oldest first
	Workers() []*pb.WorkerStatus
}

//go:embed static templates
var files embed.FS

// every is how often a live page looks for changes.
const every = time.Second

// maxLive bounds how long one live stream stays; the browser comes again.
const maxLive = 10 * time.Minute

type pages struct {
	r    Reader
	tmpl *template.Template
	now  func() time.Time
}

// New is the handler of all pages. now is the wall clock, for durations.
func New(r Reader, now func() time.Time) (http.Handler, error) {
	p := &pages{r: r, now: now}
	t, err := template.New("").Funcs(funcs).ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	p.tmpl = t
	static, err := fs.Sub(files, "static")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.page("jobs", p.jobs))
	mux.HandleFunc("GET /jobs/{id}", p.page("job", p.job))
	mux.HandleFunc("GET /workers", p.page("workers", p.workers))
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	return secure(mux), nil
}

// secure sets what every answer carries.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// view is what a page's template gets.
type view struct {
	Cluster string
	Path    string
	Title   string
	Now     time.Time
	Data    any
}

// page serves a page, or with ?live its content whenever it changes.
func (p *pages) page(name string, data func(r *http.Request) (title string, data any, ok bool)) http.HandlerFunc {
	render := func(r *http.Request, part string) ([]byte, bool, error) {
		title, d, ok := data(r)
		if !ok {
			return nil, false, nil
		}
		var b bytes.Buffer
		err := p.tmpl.ExecuteTemplate(&b, part, view{Cluster: p.r.Cluster(), Path: r.URL.Path, Title: title, Now: p.now(), Data: map[string]any{name: d, "page": name}})
		return b.Bytes(), true, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("live") {
			live(w, r, func() ([]byte, bool, error) { return render(r, "content") })
			return
		}
		b, ok, err := render(r, "layout")
		switch {
		case err != nil:
			http.Error(w, "the page cannot be drawn: "+err.Error(), http.StatusInternalServerError)
		case !ok:
			http.Error(w, "no such job here: it may have been forgotten, the list at / has those that are known", http.StatusNotFound)
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.Write(b)
		}
	}
}

// live sends a page's content as server-sent events, first at once and then when it
// has changed.
func live(w http.ResponseWriter, r *http.Request, content func() ([]byte, bool, error)) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	end := time.NewTimer(maxLive)
	defer end.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last string
	for {
		b, ok, err := content()
		if err != nil || !ok {
			return
		}
		if sum := digest(b); sum != last {
			last = sum
			var msg bytes.Buffer
			for line := range bytes.Lines(b) {
				msg.WriteString("data: ")
				msg.Write(bytes.TrimRight(line, "\r\n"))
				msg.WriteByte('\n')
			}
			msg.WriteByte('\n')
			if _, err := w.Write(msg.Bytes()); err != nil || out.Flush() != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-end.C:
			return
		case <-tick.C:
		}
	}
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

type jobsData struct {
	Jobs    []*pb.JobStatus
	Workers []*pb.WorkerStatus
	Slots   int32
	Running int32
}

func (p *pages) jobs(r *http.Request) (string, any, bool) {
	d := jobsData{Jobs: p.r.Jobs(), Workers: p.r.Workers()}
	for _, w := range d.Workers {
		if w.State == "ready" {
			d.Slots += w.Slots
		}
		d.Running += w.Running
	}
	return "Jobs", d, true
}

type jobData struct {
	*pb.JobStatus
	Events   []*pb.Event
	Counters []counter
}

type counter struct {
	Name  string
	Value int64
}

func (p *pages) job(r *http.Request) (string, any, bool) {
	j, ok := p.r.Job(r.PathValue("id"))
	if !ok {
		return "", nil, false
	}
	d := jobData{JobStatus: j, Events: p.r.Events(j.Id, 200)}
	for k, v := range j.Counters {
		d.Counters = append(d.Counters, counter{k, v})
	}
	slices.SortFunc(d.Counters, func(a, b counter) int { return strings.Compare(a.Name, b.Name) })
	return j.Id, d, true
}

func (p *pages) workers(r *http.Request) (string, any, bool) {
	return "Workers", p.r.Workers(), true
}
