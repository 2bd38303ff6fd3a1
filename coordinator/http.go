package coordinator

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// handler serves health, metrics, JSON and the pages. It changes
// nothing, answers only to loopback names (a page elsewhere could otherwise make the
// browser's own machine answer), and lets nothing be embedded.
func (c *Coordinator) handler(pages http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", c.readyz)
	mux.HandleFunc("GET /metrics", c.metrics)
	mux.HandleFunc("GET /api/v1/jobs", func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		jobs, err := c.list(r.Context(), r.URL.Query().Get("state"), limit)
		reply(w, "jobs", jobs, err)
	})
	mux.HandleFunc("GET /api/v1/jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		j, err := c.job(r.Context(), r.PathValue("id"), false)
		reply(w, "job", j, err)
	})
	mux.HandleFunc("GET /api/v1/jobs/{id}/events", func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.ParseUint(r.URL.Query().Get("from"), 10, 64)
		events, err := c.Reader().Events(r.Context(), r.PathValue("id"), from)
		reply(w, "events", events, err)
	})
	mux.HandleFunc("GET /api/v1/workers", func(w http.ResponseWriter, r *http.Request) {
		workers, err := c.workers(r.Context())
		reply(w, "workers", workers, err)
	})
	mux.Handle("GET /", pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", "default-src 'self'")
		h.Set("Referrer-Policy", "no-referrer")
		if !local(r.Host) {
			http.Error(w, fmt.Sprintf("host %q is not served here, only loopback names", r.Host), http.StatusMisdirectedRequest)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// readyz is true once the journal is replayed, which it is before anything is served,
// and as long as it can be written.
func (c *Coordinator) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := c.journal.Err(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// schemaVersion of the JSON: raised when a field changes its meaning.
const schemaVersion = 1

func reply[T any](w http.ResponseWriter, name string, v T, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		st := status.Convert(err)
		code := map[codes.Code]int{
			codes.NotFound: http.StatusNotFound, codes.InvalidArgument: http.StatusBadRequest, codes.Unavailable: http.StatusServiceUnavailable,
		}[st.Code()]
		if code == 0 {
			code = http.StatusInternalServerError
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"schema": schemaVersion, "error": st.Message()})
		return
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(map[string]any{"schema": schemaVersion, name: plain(v)}) // the client has gone
}

// plain is a message, or a list of them, as maps with the fields' names; numbers stay
// numbers and states are words.
func plain(v any) any {
	switch v := v.(type) {
	case []*divisipb.JobStatus:
		return plainAll(v)
	case []*divisipb.WorkerStatus:
		return plainAll(v)
	case []*divisipb.Event:
		return plainAll(v)
	case protoreflect.ProtoMessage:
		return plainMessage(v.ProtoReflect())
	}
	return v
}

func plainAll[M protoreflect.ProtoMessage](all []M) []any {
	out := make([]any, len(all))
	for i, m := range all {
		out[i] = plainMessage(m.ProtoReflect())
	}
	return out
}

func plainMessage(m protoreflect.Message) map[string]any {
	out := map[string]any{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		v := m.Get(f)
		switch {
		case f.IsMap():
			entries := map[string]any{}
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				entries[k.String()] = plainValue(f.MapValue(), v)
				return true
			})
			out[name] = entries
		case f.IsList():
			list := make([]any, v.List().Len())
			for n := range list {
				list[n] = plainValue(f, v.List().Get(n))
			}
			out[name] = list
		case f.Message() != nil && !m.Has(f), f.Kind() == protoreflect.BytesKind:
		default:
			out[name] = plainValue(f, v)
		}
	}
	return out
}

func plainValue(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return plainMessage(v.Message())
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return strings.ToLower(strings.TrimPrefix(string(e.Name()), "JOB_STATE_"))
		}
		return int32(v.Enum())
	}
	return v.Interface()
}
