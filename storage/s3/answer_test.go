package s3

import (
	"encoding/xml"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// answers are lists as servers write them, and others.
var answers = []struct {
	name, text string
	plain      bool
}{
	{"empty", xmlHead + "\n" + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>`, true},
	{"objects", `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>1&amp;2&#34;=</NextContinuationToken>
  <Contents><Key>a%2Bb+c/d</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&#34;0815-2&quot;</ETag><Size>17</Size><StorageClass>STANDARD</StorageClass><Owner><ID>x</ID><DisplayName/></Owner></Contents>
  <Contents><Key>e</Key><Size>9223372036854775807</Size><ETag>"1"</ETag></Contents></ListBucketResult>
`, true},
	{"names as they are", `<ListBucketResult><Contents><Key>&lt;a&gt; &apos;%2B+ü中</Key></Contents></ListBucketResult>`, true},
	{"folders", `<ListBucketResult><Prefix>p/</Prefix><Delimiter>/</Delimiter><CommonPrefixes><Prefix>p/a/</Prefix></CommonPrefixes><Contents><Key>p/z</Key></Contents><CommonPrefixes><Prefix>p/b/</Prefix></CommonPrefixes></ListBucketResult>`, true},
	{"attributes", `<ListBucketResult xmlns="u" xmlns:xsi="v"><Owner xsi:type="w"/><Contents a="b"><Key>k</Key></Contents></ListBucketResult>`, true},
	{"a comment", `<ListBucketResult><!-- c --><Contents><Key>k</Key></Contents></ListBucketResult>`, false},
	{"CDATA", `<ListBucketResult><Contents><Key><![CDATA[k]]></Key></Contents></ListBucketResult>`, false},
	{"a prefix", `<s:ListBucketResult xmlns:s="u"><s:Contents><s:Key>k</s:Key></s:Contents></s:ListBucketResult>`, false},
	{"another head", `<?xml version='1.0'?><ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>`, false},
	{"other references", `<ListBucketResult><Contents><Key>&#x4e2d;</Key><Size> 5 </Size></Contents></ListBucketResult>`, false},
	{"line ends", "<ListBucketResult>\r\n<Contents>\r\n<Key>k</Key>\r\n</Contents>\r\n</ListBucketResult>\r\n", false},
	{"empty elements", `<ListBucketResult><Contents><Key/></Contents><Contents/><IsTruncated/></ListBucketResult>`, false},
	{"text between", `<ListBucketResult>x<Contents><Key>k</Key>y</Contents></ListBucketResult>`, false},
	{"a name in a name", `<ListBucketResult><Contents><Key>a<b/>c</Key></Contents></ListBucketResult>`, false},
}

// bySlow reads an answer with encoding/xml alone, into the client library's type.
func bySlow(text string) (minio.ListBucketV2Result, error) {
	var r minio.ListBucketV2Result
	err := xml.Unmarshal([]byte(text), &r)
	return r, err
}

func agrees(t *testing.T, text string, r rawAnswer) {
	t.Helper()
	want, err := bySlow(text)
	if err != nil {
		t.Fatalf("%q: encoding/xml says %v", text, err)
	}
	if r.truncated != want.IsTruncated || r.token != want.NextContinuationToken || r.encoding != want.EncodingType || len(r.objects) != len(want.Contents) || len(r.folders) != len(want.CommonPrefixes) {
		t.Fatalf("%q is read as %+v, want %+v", text, r, want)
	}
	for i, w := range want.Contents {
		if got := r.objects[i]; got.Key != w.Key || got.Size != w.Size || got.ETag != w.ETag || !got.LastModified.Equal(w.LastModified) {
			t.Fatalf("%q: object %d is %+v, want %+v", text, i, got, w)
		}
	}
	for i, w := range want.CommonPrefixes {
		if r.folders[i] != w.Prefix {
			t.Fatalf("%q: folder %d is %q, want %q", text, i, r.folders[i], w.Prefix)
		}
	}
}

func TestPlainAnswers(t *testing.T) {
	for _, c := range answers {
		r, ok := readPlainAnswer([]byte(c.text))
		if ok != c.plain {
			t.Errorf("%s: plain is %v", c.name, ok)
		}
		if ok {
			agrees(t, c.text, r)
		}
		fast, err := readAnswer([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		// The same with a comment in it is read by encoding/xml.
		slow, err := readAnswer([]byte(strings.Replace(c.text, "</", "<!-- --></", 1)))
		if err != nil || !reflect.DeepEqual(fast, slow) {
			t.Errorf("%s: read fast %+v, read slowly %+v, %v", c.name, fast, slow, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	a, err := readAnswer([]byte(answers[1].text))
	if err != nil {
		t.Fatal(err)
	}
	want := listPage{token: `1&2"=`, entries: []entry{
		{Key: "a+b c/d", Size: 17, ETag: "0815-2", LastModified: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)},
		{Key: "e", Size: 9223372036854775807, ETag: "1"},
	}}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("got %+v, want %+v", a, want)
	}
}

// TestNoAnswer: none is taken for an empty list.
func TestNoAnswer(t *testing.T) {
	whole := answers[1].text
	for i := range len(strings.TrimSpace(whole)) {
		if a, err := readAnswer([]byte(whole[:i])); err == nil {
			t.Fatalf("cut short after %d bytes: %+v", i, a)
		}
	}
	for text, says := range map[string]string{
		"<html><body>hello</body></html>":                                                                          `begins with "html"`,
		"<Error><Code>SlowDown</Code><Message>please</Message></Error>":                                            "please",
		"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>":                                     "does not say how to go on",
		"<ListBucketResult><Contents><Size>x</Size></Contents></ListBucketResult>":                                 "invalid syntax",
		"<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents></ListBucketResult>": "not encoded",
		"<ListBucketResult><Contents><LastModified>yesterday</LastModified></Contents></ListBucketResult>":         "parsing time",
		"<ListBucketResult><Contents></CommonPrefixes></ListBucketResult>":                                         "no list",
		strings.Replace(whole, "</Contents>", "", 1):                                                               "no list",
	} {
		if a, err := readAnswer([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v, want an error that says %q", text, a, err, says)
		}
	}
}

// FuzzAnswer: what is read fast is what encoding/xml reads.
func FuzzAnswer(f *testing.F) {
	for _, c := range answers {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := readPlainAnswer([]byte(text)); ok {
			agrees(t, text, r)
		}
		_, _ = readAnswer([]byte(text))
	})
}

func BenchmarkAnswer(b *testing.B) {
	var text strings.Builder
	text.WriteString(xmlHead + "<ListBucketResult>")
	for i := range 1000 {
		fmt.Fprintf(&text, "<Contents><ETag>&#34;%032x&#34;</ETag><Key>text-100000000-10000/%06d.txt</Key><LastModified>2026-01-02T03:04:05Z</LastModified><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>", i, i, 10_000+i)
	}
	body := []byte(text.String() + "</ListBucketResult>")
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if a, err := readAnswer(body); err != nil || len(a.entries) != 1000 {
			b.Fatal(len(a.entries), err)
		}
	}
}
