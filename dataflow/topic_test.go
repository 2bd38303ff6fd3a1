package dataflow

import (
	"strings"
	"testing"
)

func TestTopics(t *testing.T) {
	type row struct {
		N int64  `df:"n"`
		S string `df:"s"`
	}
	g := build(t, func(j *Job) {
		Write(Read(j, Lines("kafka://h:1/in?from=latest").SkipBad(3).MaxRecordBytes(9)), Text("kafka://h:1/out").Compress(Zstd))
		Write(Read(j, FromJSONLines[row]("kafka:///in")), JSONLines[row]("kafka:///out").Option("delivery", "idempotent"))
	})
	want := map[string]bool{
		`kafka {"uri":"kafka://h:1/in?from=latest","format":"text","policy":{"bad":"skip","max":3},"max_record_bytes":9}`:                                 true,
		`kafka {"uri":"kafka://h:1/out","options":{"compression":"zstd"}}`:                                                                                true,
		`kafka {"uri":"kafka:///in","format":"json","schema":[{"name":"n","type":"int64","required":true},{"name":"s","type":"string","required":true}]}`: true,
		`kafka {"uri":"kafka:///out","options":{"delivery":"idempotent","format":"json"}}`:                                                                true,
	}
	for _, n := range g.Nodes {
		got := n.Ref.Kind + " " + string(n.Ref.Args)
		if !want[got] {
			t.Errorf("unexpected: %s", got)
		}
		delete(want, got)
	}
	for w := range want {
		t.Errorf("missing: %s", w)
	}
	j := NewJob("test", nil)
	Write(Read(j, FromCSV[row]("kafka://h/in")), Parquet[row]("kafka://h/out"))
	Read(j, Lines("kafka://h/a", "kafka://h/b"))
	_, err := j.Graph()
	for _, want := range []string{"can be read as Lines or FromJSONLines", "is written as Text, TSV or JSONLines", "use Union"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
