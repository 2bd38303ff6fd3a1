package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/dataflow"
)

// testFormats reads what the independent client wrote, in every format, cut and
// batched in odd ways.
func testFormats(t *testing.T, p *place) {
	topic := p.topic(t, 3)
	var messages []kafkago.Message
	text := map[int][]string{}
	var raw, record []string
	start := time.UnixMilli(1_700_000_000_000).UTC()
	for i := range 500 {
		part := i * i % 2 // partition 2 stays empty, 1 has fewer
		m := kafkago.Message{WriterData: part, Partition: part, Offset: int64(len(text[part+10])), Time: start.Add(time.Duration(i) * time.Second)}
		text[part+10] = append(text[part+10], "")
		if i%3 > 0 {
			m.Key = []byte(strconv.Itoa(i))
		}
		switch i % 5 {
		case 0: // a tombstone
		case 1:
			m.Value = []byte{}
			text[part] = append(text[part], `"" `)
		case 2:
			m.Value = fmt.Appendf(nil, "x%d\ny\r\n\nz\n", i)
			text[part] = append(text[part], fmt.Sprintf(`"x%d" `, i), `"y" `, `"" `, `"z" `)
		default:
			m.Value = fmt.Appendf(nil, "v%d", i)
			text[part] = append(text[part], fmt.Sprintf(`"v%d" `, i))
		}
		if i%7 == 0 {
			m.Headers = []kafkago.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}}
		}
		messages = append(messages, m)
		raw = append(raw, cell64(m.Key)+cell64(m.Value))
		headers := "[]"
		if m.Headers != nil {
			headers = `[{"key":"h","value":"MQ=="},{"key":"h","value":"Mg=="}]`
		}
		record = append(record, fmt.Sprintf("%q %q %q %q %s%s%q ", topic, strconv.Itoa(part), strconv.FormatInt(m.Offset, 10),
			m.Time.Format("2006-01-02T15:04:05Z"), cell64(m.Key), cell64(m.Value), headers))
	}
	p.write(t, topic, messages...)
	want := slices.Concat(text[0], text[1])
	for _, hint := range []dataflow.SplitHint{{}, {MaxBytes: 1}, {MaxBytes: 700, Slots: 3}} {
		equal(t, fmt.Sprintf("text cut by %+v", hint), lines(t, SourceArgs{URI: p.uri(topic)}, hint), want)
	}
	// kafka-go writes in order, so the records of a partition are as expected.
	got := lines(t, SourceArgs{URI: p.uri(topic), Format: Raw}, dataflow.SplitHint{MaxBytes: 3000})
	slices.Sort(got)
	slices.Sort(raw)
	equal(t, "raw", got, raw)
	got = lines(t, SourceArgs{URI: p.uri(topic), Format: Record}, dataflow.SplitHint{MaxBytes: 3000})
	slices.Sort(got)
	slices.Sort(record)
	equal(t, "record", got, record)

	out, err := p.Tool(t.Context(), "console-consumer", "", "--bootstrap-server", p.Bootstrap, "--topic", topic, "--partition", "0", "--from-beginning",
		"--max-messages", strconv.Itoa(len(text[10])), "--formatter-property", "print.value=true")
	if err != nil {
		t.Fatal(err)
	}
	var console []string
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\n"), "\n") {
		if line != "null" { // so it prints a tombstone
			console = append(console, fmt.Sprintf("%q ", strings.TrimSuffix(line, "\r")))
		}
	}
	// A value that ends with a line's end is printed with one more.
	var lines0 []string
	for _, l := range text[0] {
		lines0 = append(lines0, l)
		if l == `"z" ` {
			lines0 = append(lines0, `"" `)
		}
	}
	equal(t, "console", console, lines0)

	t.Run("batches", func(t *testing.T) { testBatches(t, p, topic, want) })
	t.Run("json", func(t *testing.T) { testJSON(t, p) })
}

func cell64(b []byte) string {
	if b == nil {
		return "null "
	}
	a := batch64(b)
	defer a.Release()
	return fmt.Sprintf("%q ", a.Column(0).ValueStr(0))
}

// testBatches reads with odd batch sizes, stops early, gives halves away.
func testBatches(t *testing.T, p *place, topic string, want []string) {
	src := newSource(t, SourceArgs{URI: p.uri(topic)})
	splits, err := src.Splits(t.Context(), dataflow.SplitHint{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{1, 2, 3, 1000} {
		var got []string
		for _, sp := range splits {
			got = append(got, readWith(t, src, sp, func(env *dataflow.Env) { env.BatchRows = rows }, func(b dataflow.Batch, s dataflow.Stream) {
				if int(b.NumRows()) > rows {
					t.Errorf("a batch of %d rows, want at most %d", b.NumRows(), rows)
				}
			})...)
		}
		equal(t, fmt.Sprintf("batches of %d", rows), got, want)
	}
	// Bytes bound a batch too.
	most := 0
	readWith(t, src, splits[0], func(env *dataflow.Env) { env.BatchBytes = 10 }, func(b dataflow.Batch, _ dataflow.Stream) { most = max(most, int(b.NumRows())) })
	if most > 20 {
		t.Errorf("a batch of %d rows for 10 bytes", most)
	}
	// Whoever gives a part of its range away reads the rest.
	for _, keep := range []float64{0, 0.5, 1} {
		var got []string
		todo := slices.Clone(splits)
		gave := 0
		for len(todo) > 0 {
			sp := todo[0]
			todo = todo[1:]
			env := dataflow.NewEnv(t.Context())
			s, err := src.Open(env, sp)
			if err != nil {
				t.Fatal(err)
			}
			if _, rest, ok := s.(dataflow.Splitter).TrySplit(keep); ok {
				gave++
				todo = slices.Insert(todo, 0, rest)
			}
			got = append(got, drain(t, s, nil)...)
			if f := s.(dataflow.Progresser).Progress(); f.Fraction != 1 {
				t.Errorf("at the end of %s the progress is %+v", sp.ID, f)
			}
			if _, _, ok := s.(dataflow.Splitter).TrySplit(0.5); ok {
				t.Error("gave away what was read")
			}
			s.Close()
		}
		equal(t, fmt.Sprintf("given away but %v", keep), got, want)
		if keep < 1 && gave < 2 {
			t.Errorf("gave %d times, keeping %v", gave, keep)
		}
	}
	s, err := src.Open(dataflow.NewEnv(t.Context()), splits[1])
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	if got, want := dataflow.Locate(s, 0), topic+"[1]@0"; got != want {
		t.Errorf("the first row is at %s, want %s", got, want)
	}
	s.Close()
	s.Close()
	if _, err := s.Next(t.Context()); err == nil || err == io.EOF {
		t.Errorf("after Close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err = src.Open(dataflow.NewEnv(ctx), splits[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(ctx); dataflow.KindOf(err) != dataflow.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	s.Close()
}

func readWith(t *testing.T, src dataflow.Source, sp dataflow.Split, set func(*dataflow.Env), see func(dataflow.Batch, dataflow.Stream)) []string {
	t.Helper()
	env := dataflow.NewEnv(t.Context())
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	env.Alloc = mem
	set(env)
	s, err := src.Open(env, sp)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		s.Close()
		if n := env.Memory.Used(); n != 0 {
			t.Errorf("%d bytes are still reserved", n)
		}
	}()
	return drain(t, s, see)
}

func drain(t *testing.T, s dataflow.Stream, see func(dataflow.Batch, dataflow.Stream)) []string {
	t.Helper()
	var rows []string
	for {
		b, err := s.Next(t.Context())
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		if see != nil {
			see(b, s)
		}
		rows = append(rows, connectortest.Strings(b)...)
		b.Release()
	}
}

func testJSON(t *testing.T, p *place) {
	topic := p.topic(t, 1)
	p.write(t, topic, message(0, "", `{"n":1,"s":"a"}`), kafkago.Message{WriterData: 0, Key: []byte("k")}, message(0, "", ` {"s":null,"n":2} `), message(0, "", `{"n":"three"}`), message(0, "", `{"n":4}`))
	args := SourceArgs{URI: p.uri(topic), Format: JSON, Schema: []byte(`[{"name":"n","type":"int64"},{"name":"s","type":"string"}]`)}
	got, err := tryLines(t, args, dataflow.SplitHint{})
	if !errors.Is(err, dataflow.ErrMalformed) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), topic+"[0]@3") || !strings.Contains(err.Error(), "three") {
		t.Errorf("got %q, %v", got, err)
	}
	args.Policy = Policy{Bad: "skip"}
	equal(t, "skip", lines(t, args, dataflow.SplitHint{}), []string{`"1" "a" `, `"2" null `, `"4" null `})
	args.MaxRecordBytes, args.Policy = 3, Policy{Bad: "skip", Max: 2}
	if _, err := tryLines(t, args, dataflow.SplitHint{}); !errors.Is(err, dataflow.ErrRecordTooLarge) || !strings.Contains(err.Error(), "3 bad records") {
		t.Errorf("third bad record: %v", err)
	}
}
