package s3

import (
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
)

// shelf answers listings, and HEADs of keys, as S3 describes them: keys are flat,
// and a page may have fewer entries than were asked for, in an answer that goes on.
type shelf struct {
	keys  []string // in order
	short int      // a page's entries at most
}

type listAnswer struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []struct {
		Key  string
		Size int
	}
	CommonPrefixes []struct{ Prefix string }
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.Method == http.MethodHead {
		if _, ok := slices.BinarySearch(s.keys, strings.TrimPrefix(r.URL.Path, "/bucket/")); !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Header().Set("Content-Length", "1")
		return
	}
	limit, _ := strconv.Atoi(q.Get("max-keys"))
	limit = min(limit, s.short)
	prefix, after := q.Get("prefix"), q.Get("start-after")
	if token := q.Get("continuation-token"); token != "" {
		after = token
	}
	var a listAnswer
	last, n := "", 0
	for _, k := range s.keys {
		rest, ok := strings.CutPrefix(k, prefix)
		if !ok || k <= after || last != "" && strings.HasSuffix(last, "/") && strings.HasPrefix(k, last) {
			continue
		}
		if q.Get("continuation-token") != "" && strings.HasSuffix(after, "/") && strings.HasPrefix(k, after) && q.Get("delimiter") != "" {
			continue // the folder was told on the page before
		}
		if n == limit {
			a.IsTruncated, a.NextContinuationToken = true, last
			break
		}
		n++
		if dir, _, deeper := strings.Cut(rest, "/"); deeper && q.Get("delimiter") == "/" {
			last = prefix + dir + "/"
			a.CommonPrefixes = append(a.CommonPrefixes, struct{ Prefix string }{last})
			continue
		}
		last = k
		a.Contents = append(a.Contents, struct {
			Key  string
			Size int
		}{k, 1})
	}
	if err := xml.NewEncoder(w).Encode(a); err != nil {
		panic(err)
	}
}

// TestShortPages lists random keys from pages of all lengths.
func TestShortPages(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		s := &shelf{short: 1 + random.IntN(12)}
		parts := []string{"a", "a-", "a0", "b", "-", "zz", "é"}
		for range random.IntN(150) {
			key := "in"
			for range 1 + random.IntN(1+round%4) {
				key += "/" + parts[random.IntN(len(parts))]
			}
			s.keys = append(s.keys, key, key+fmt.Sprintf("%02d", random.IntN(30)))
		}
		slices.Sort(s.keys)
		s.keys = slices.Compact(s.keys)
		server := httptest.NewServer(s)
		set := quick()
		set.page = 1 + random.IntN(15)
		fs := connect(t, server.URL, services.S3Server{AccessKey: "tester", SecretKey: "tester-secret", Region: "r"}, set)
		for _, prefix := range []string{"", "in", "in/a", "in/a/b", "in/a-"} {
			var want, dirs []string
			for _, k := range s.keys {
				rest, below := strings.CutPrefix(k, folderPrefix(prefix))
				if k == prefix || below {
					want = append(want, k)
				}
				if below {
					if dir, _, deeper := strings.Cut(rest, "/"); deeper {
						k = folderPrefix(prefix) + dir + "/"
					}
					dirs = append(dirs, k)
				}
			}
			slices.Sort(dirs)
			dirs = slices.Compact(dirs)
			var got []string
			for info, err := range fs.List(t.Context(), prefix) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, info.Name)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("round %d (page %d, short %d): List(%q): %d of %d; first difference: %s", round, set.page, s.short, prefix, len(got), len(want), difference(got, want))
			}
			got = nil
			for info, err := range fs.ListFolder(t.Context(), prefix) {
				if err != nil {
					t.Fatal(err)
				}
				if info.Dir {
					info.Name += "/"
				}
				got = append(got, info.Name)
			}
			if !slices.Equal(got, dirs) {
				t.Fatalf("round %d (page %d, short %d): ListFolder(%q): %d of %d; first difference: %s", round, set.page, s.short, prefix, len(got), len(dirs), difference(got, dirs))
			}
		}
		server.Close()
	}
}

// TestOutOfOrder: a listing that is not in order would lose keys.
func TestOutOfOrder(t *testing.T) {
	s := &shelf{keys: []string{"in/b", "in/a"}, short: 10}
	server := httptest.NewServer(s)
	defer server.Close()
	fs := connect(t, server.URL, services.S3Server{AccessKey: "tester", SecretKey: "tester-secret", Region: "r"}, quick())
	var last error
	for _, err := range fs.List(t.Context(), "in") {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "out of order") {
		t.Errorf("got %v", last)
	}
}
