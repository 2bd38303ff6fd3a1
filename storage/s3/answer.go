package s3

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// An entry is an object of a listing, or a folder, whose key ends in a slash.
type entry struct {
	Key          string
	Size         int64
	LastModified time.Time
	ETag         string
}

// listPage is one page of a listing.
type listPage struct {
	entries []entry // objects, then folders
	token   string  // with which the next page is asked for; "" behind the last
}

// readAnswer reads what a server answers to ListObjectsV2: the plain answer fast, any
// other as encoding/xml does.
func readAnswer(body []byte) (listPage, error) {
	if r, ok := readPlainAnswer(body); ok {
		return r.page()
	}
	var x struct {
		XMLName               xml.Name
		IsTruncated           bool
		NextContinuationToken string
		EncodingType          string
		Contents              []struct {
			Key          string
			Size         int64
			LastModified time.Time
			ETag         string
		}
		CommonPrefixes []struct{ Prefix string }
	}
	if err := xml.Unmarshal(body, &x); err != nil {
		return listPage{}, fmt.Errorf("the answer is no list: %w", err)
	}
	switch x.XMLName.Local {
	case "ListBucketResult":
	case "Error":
		var e minio.ErrorResponse
		if err := xml.Unmarshal(body, &e); err != nil {
			return listPage{}, fmt.Errorf("the answer is no list: %w", err)
		}
		return listPage{}, e
	default:
		return listPage{}, fmt.Errorf("the answer is no list: it begins with %q", x.XMLName.Local)
	}
	r := rawAnswer{truncated: x.IsTruncated, token: x.NextContinuationToken, encoding: x.EncodingType}
	for _, c := range x.Contents {
		r.objects = append(r.objects, entry(c))
	}
	for _, c := range x.CommonPrefixes {
		r.folders = append(r.folders, c.Prefix)
	}
	return r.page()
}

// rawAnswer is what stands in an answer, names and ETags as they stand there.
type rawAnswer struct {
	truncated bool
	token     string
	encoding  string
	objects   []entry
	folders   []string
}

func (r rawAnswer) page() (listPage, error) {
	a := listPage{entries: r.objects}
	for _, name := range r.folders {
		a.entries = append(a.entries, entry{Key: name})
	}
	for i := range a.entries {
		e := &a.entries[i]
		if r.encoding == "url" {
			key, err := url.QueryUnescape(e.Key)
			if err != nil {
				return listPage{}, fmt.Errorf("the list has a name that is not encoded as it says: %w", err)
			}
			e.Key = key
		}
		e.LastModified = e.LastModified.Truncate(time.Millisecond) // as the library has it
		e.ETag = strings.TrimSuffix(strings.TrimPrefix(e.ETag, `"`), `"`)
	}
	if r.truncated {
		if a.token = r.token; a.token == "" {
			return listPage{}, &fault{final: true, text: "the server cuts a list short and does not say how to go on"}
		}
	}
	return a, nil
}
