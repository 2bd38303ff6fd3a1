package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/divisi-data/divisi/dataflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseAddress(t *testing.T) {
	for uri, want := range map[string]address{
		"kafka://a:1,b:2/t": {servers: []string{"a:1", "b:2"}, topic: "t", from: bound{kind: earliest}, to: bound{kind: latest}},
		"kafka:///t":        {topic: "t", from: bound{kind: earliest}, to: bound{kind: latest}},
		"kafka://h/t.x_-Y?from=latest&to=earliest":     {servers: []string{"h:9092"}, topic: "t.x_-Y", from: bound{kind: latest}, to: bound{kind: earliest}},
		"kafka://[::1]:1,[::2]/t?config=/a%20b&rack=r": {servers: []string{"[::1]:1", "[::2]:9092"}, topic: "t", from: bound{kind: earliest}, to: bound{kind: latest}, config: "/a b", rack: "r"},
		"kafka://h/t?from=offsets:0=12,7=40&to=group:a:b": {servers: []string{"h:9092"}, topic: "t",
			from: bound{kind: atOffsets, offsets: map[int32]int64{0: 12, 7: 40}}, to: bound{kind: ofGroup, group: "a:b"}},
		"kafka://h/t?from=2026-01-31T12:00:00+01:00": {servers: []string{"h:9092"}, topic: "t",
			from: bound{kind: atTime, time: time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC)}, to: bound{kind: latest}},
	} {
		got, err := parseAddress(uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		got.from.time = got.from.time.UTC()
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: %+v, want %+v", uri, got, want)
		}
	}
	for uri, want := range map[string]string{
		"file:///t": "does not begin", "kafka://h": "no name of a topic", "kafka://h/a/b": "no name of a topic", "kafka://h/..": "no name of a topic",
		"kafka://u:pw@h/t": "no user or password", "kafka://h:x/t": "no host:port", "kafka://h:1,/t": "no host:port", "kafka://::1/t": "no host:port",
		"kafka://h/t?form=latest": "no such parameter", "kafka://h/t?from=yesterday": "is not earliest", "kafka://h/t?to=offsets:0": "no partition=offset",
		"kafka://h/t?to=offsets:0=1,0=2": "named twice", "kafka://h/t?to=offsets:-1=1": "no partition=offset", "kafka://h/t?from=group:": "no name",
	} {
		if _, err := parseAddress(uri); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v, want %s", uri, err, want)
		}
	}
	// Where servers come from.
	a, _ := parseAddress("kafka:///t")
	if err := a.complete(properties{}); err == nil || !strings.Contains(err.Error(), BootstrapEnv) {
		t.Errorf("no servers: %v", err)
	}
	if err := a.complete(properties{"bootstrap.servers": "p:1"}); err != nil || a.servers[0] != "p:1" {
		t.Errorf("from the properties: %v, %v", a.servers, err)
	}
	a.servers = nil
	t.Setenv(BootstrapEnv, "e:1, e:2")
	if err := a.complete(properties{"bootstrap.servers": "p:1"}); err != nil || !slices.Equal(a.servers, []string{"e:1", "e:2"}) {
		t.Errorf("from the environment: %v, %v", a.servers, err)
	}
}

func TestArguments(t *testing.T) {
	for args, want := range map[string]string{
		`{"uri":"kafka://h/t","form":"x"}`:                                         "unknown field",
		`{"uri":"kafka://h/t","format":"xml"}`:                                     "format is \"xml\"",
		`{"uri":"kafka://h/t","format":"json"}`:                                    "needs a schema",
		`{"uri":"kafka://h/t","policy":{"data_loss":"shrug"}}`:                     "data_loss is \"shrug\"",
		`{"uri":"kafka://h/t","policy":{"bad":"shrug"}}`:                           "bad is \"shrug\"",
		`{"uri":"kafka://h/t","max_record_bytes":-1}`:                              "max_record_bytes is -1",
		`{"uri":"kafka://h/t","format":"json","schema":[{"name":"x","type":"?"}]}`: "schema",
	} {
		if _, err := dataflow.NewSource(Kind, []byte(args)); dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
	for args, want := range map[string]string{
		`{"uri":"kafka://h/t?from=latest"}`:                             "from and to are for reading",
		`{"uri":"kafka://h/t","options":{"compression":"rar"}}`:         "compression is \"rar\"",
		`{"uri":"kafka://h/t","options":{"delivery":"maybe"}}`:          "delivery is \"maybe\"",
		`{"uri":"kafka://h/t","options":{"transaction_timeout_ms":-1}}`: "transaction_timeout_ms is -1",
		`{"uri":"kafka://h/t","options":{"format":"csv"}}`:              "format is \"csv\"",
		`{"uri":"kafka://h/t","options":{"compresion":"gzip"}}`:         "unknown field",
	} {
		if _, err := dataflow.NewSink(Kind, []byte(args)); dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

func TestProperties(t *testing.T) {
	got, err := parseProperties("# c\r\n! c\na=1\n b : 2\nc 3\nd=x\\\n   y\ne\\ f = g\\u00e9\\t\\\\\nempty=\nkey\nj=m required u=\"a=b\";")
	want := properties{"a": "1", "b": "2", "c": "3", "d": "xy", "e f": "gé\t\\", "empty": "", "key": "", "j": `m required u="a=b";`}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"secrets": "pass=word", "token": "tok\n", "client": "x=${env:DIVISI_TEST_X}-${file:" + dir + "/secrets:pass}-${directory:" + dir + ":token}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DIVISI_TEST_X", "env")
	if p, err := readProperties(filepath.Join(dir, "client")); err != nil || p["x"] != "env-word-tok" {
		t.Errorf("resolved %q, %v", p, err)
	}
	for _, ref := range []string{"${env:DIVISI_TEST_NO}", "${file:" + dir + "/secrets:no}", "${file:/nowhere:no}", "${vault:x}", "${open"} {
		if v, err := resolve(ref); err == nil || strings.Contains(err.Error(), "word") {
			t.Errorf("%s: %q, %v", ref, v, err)
		}
	}
	for jaas, want := range map[string]string{
		`M required username="u" password="p\"q";`:               `u p"q`,
		`M required password='a b' username=u serviceName="x" ;`: `u a b`,
		`M required username="u";`:                               `u `,
	} {
		if u, p, err := parseJAAS(jaas); err != nil || u+" "+p != want {
			t.Errorf("%s: %q %q %v", jaas, u, p, err)
		}
	}
	for _, jaas := range []string{"", "M", `M required;`, `M required username="u" password="secr`, `M required password="secr";`, `M required secr`} {
		if _, _, err := parseJAAS(jaas); err == nil || strings.Contains(err.Error(), "secr") {
			t.Errorf("%s: %v", jaas, err)
		}
	}
}

func TestColumns(t *testing.T) {
	schema := func(names ...string) *arrow.Schema {
		var fields []arrow.Field
		for _, n := range names {
			fields = append(fields, arrow.Field{Name: n, Type: arrow.BinaryTypes.String})
		}
		return arrow.NewSchema(fields, nil)
	}
	for names, want := range map[string]string{
		"line": "-1 0 -1 -1 -1", "word n": "0 1 -1 -1 -1", "value key": "1 0 -1 -1 -1", "key value": "0 1 -1 -1 -1",
		"partition timestamp value headers key": "4 2 3 1 0", "key word": "0 1 -1 -1 -1",
		"a b c": "none is called value", "value x": `"x" is no part`, "value value": "two columns", "value offset": `"offset" is no part`, "": "0 columns",
	} {
		c, err := columnsOf(schema(strings.Fields(names)...), "")
		if got := fmt.Sprint(c.key, c.value, c.headers, c.timestamp, c.partition); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v, want %s", names, got, err, want)
		}
	}
}

func TestPartitioner(t *testing.T) {
	p := partitioner{kgo.StickyKeyPartitioner(nil)}.ForTopic("t")
	for key, hash := range javaVectors {
		for _, n := range []int{1, 2, 7, 100} {
			if got, want := p.Partition(&kgo.Record{Key: []byte(key), Partition: anyPartition}, n), int(hash&0x7fffffff)%n; got != want {
				t.Errorf("key %s of %d: partition %d, want %d", key, n, got, want)
			}
		}
	}
	r := &kgo.Record{Key: []byte("foobar"), Partition: 5}
	if p.Partition(r, 100) != 5 || !p.RequiresConsistency(r) || p.RequiresConsistency(&kgo.Record{Partition: anyPartition}) {
		t.Error("a record does not go where it says")
	}
}

// compressed is text in every compression.
func compressed(t *testing.T, text []byte) map[kgo.CompressionCodecType][][]byte {
	t.Helper()
	var gz, lz bytes.Buffer
	w := gzip.NewWriter(&gz)
	z := lz4.NewWriter(&lz)
	for _, out := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{w, z} {
		if _, err := out.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	half := len(text) / 2
	java := append(append([]byte{}, xerial...), 0, 0, 0, 1, 0, 0, 0, 1)
	for _, part := range [][]byte{text[:half], text[half:]} {
		b := snappy.Encode(nil, part)
		java = append(java, byte(len(b)>>24), byte(len(b)>>16), byte(len(b)>>8), byte(len(b)))
		java = append(java, b...)
	}
	return map[kgo.CompressionCodecType][][]byte{
		kgo.CodecGzip: {gz.Bytes()}, kgo.CodecLz4: {lz.Bytes()}, kgo.CodecZstd: {e.EncodeAll(text, nil)}, kgo.CodecSnappy: {snappy.Encode(nil, text), java},
	}
}

func TestDecompress(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), 100_000)
	d, small := &decompressor{max: int64(len(text))}, &decompressor{max: int64(len(text)) - 1}
	defer d.close()
	defer small.close()
	for codec, all := range compressed(t, text) {
		for i, src := range all {
			if got, err := d.Decompress(src, codec); err != nil || !bytes.Equal(got, text) {
				t.Errorf("codec %d, %d: %d bytes, %v", codec, i, len(got), err)
			}
			if got, err := small.Decompress(src, codec); !errors.Is(err, kgo.ErrMaxDecompress) {
				t.Errorf("codec %d, %d: over the limit: %d bytes, %v", codec, i, len(got), err)
			}
			for _, bad := range [][]byte{src[:len(src)/2], {}, []byte("no compressed text at all")} {
				if got, err := d.Decompress(bad, codec); err == nil && len(got) > 0 {
					t.Errorf("codec %d, %d: half of it: %d bytes, no error", codec, i, len(got))
				}
			}
		}
	}
	if _, err := d.Decompress(text, 9); err == nil {
		t.Error("an unknown codec is no error")
	}
}

func TestCut(t *testing.T) {
	topic := plannedTopic{lost: 5, size: map[int32]float64{0: 1 << 20, 1: 10}, pieces: []piece{
		{Topic: "t", Partition: 0, Start: 100, End: 200}, {Topic: "t", Partition: 1, Start: 7, End: 8}, {Topic: "t", Partition: 2, Start: 0, End: 3}}}
	splits, err := topic.cut(dataflow.SplitHint{Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range splits {
		got = append(got, s.ID)
	}
	want := []string{"t[0]@100-114", "t[0]@114-128", "t[0]@128-142", "t[0]@142-157", "t[0]@157-171", "t[0]@171-185", "t[0]@185-200", "t[1]@7-8", "t[2]@0-3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !bytes.Contains(splits[0].Payload, []byte(`"lost":5`)) || bytes.Contains(splits[1].Payload, []byte(`lost`)) {
		t.Errorf("payloads %s, %s", splits[0].Payload, splits[1].Payload)
	}
	huge := plannedTopic{pieces: []piece{{Topic: "t", Start: 0, End: 1 << 40}}}
	if splits, err := huge.cut(dataflow.SplitHint{MaxBytes: 1}); err != nil || len(splits) > 2*splitsMax || len(splits) < splitsMax/2 {
		t.Errorf("%d splits, %v", len(splits), err)
	}
}
