package opstest

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

func TestCheckScarceSeesMistakes(t *testing.T) {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, SchemaOf(arrow.PrimitiveTypes.Int64))
	rb.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2, 3, 4, 5, 6, 7, 8, 9}, nil)
	b := rb.NewRecordBatch()
	for mistake, says := range map[string]string{
		"":                "",
		"swallows errors": "it ends with EOF",
		"leaks":           "Arrow memory remain",
		"loses a batch":   "missing",
		"reserves":        "still reserved",
		"leaves a run":    "runs remain",
	} {
		var all []string
		for _, err := range CheckScarce(t.Context(), fake{mistake}, []dataflow.Batch{b}, Rows(b), 1, 50) {
			all = append(all, err.Error())
		}
		got := strings.Join(all, "\n")
		if says == "" && got != "" {
			t.Errorf("no mistake: %s", got)
		}
		if !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", mistake, got, says)
		}
	}
}

// What a seed does is what it does every time.
func TestScarceRepeats(t *testing.T) {
	tries := func() (all []string) {
		trial := &trial{in: []dataflow.Batch{nil}}
		trial.in[0] = array.NewRecordBatch(SchemaOf(), nil, 100)
		for seed := range uint64(50) {
			w := trial.newWeather(seed, 1<<20)
			s := w.name
			for range 100 {
				s += map[bool]string{true: "-", false: "+"}[w.refuse(1000)]
			}
			all = append(all, s)
		}
		return all
	}
	first, again := tries(), tries()
	for i := range first {
		if first[i] != again[i] {
			t.Errorf("seed %d: %s, and then %s", i, first[i], again[i])
		}
	}
	for _, sign := range []string{"+-", "-+", strings.Repeat("-", 100), strings.Repeat("+", 100)} {
		if !strings.Contains(strings.Join(first, "\n"), sign) {
			t.Errorf("no seed has memory as in %s", sign)
		}
	}
}
