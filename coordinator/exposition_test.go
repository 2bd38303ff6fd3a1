package coordinator

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// exposed are metrics for the library that Prometheus has for this.
type exposed []metric

func (e exposed) Describe(chan<- *prometheus.Desc) {}

func (e exposed) Collect(c chan<- prometheus.Metric) {
	for _, m := range e {
		var names, values []string
		for i := 0; i < len(m.label); i += 2 {
			names, values = append(names, m.label[i]), append(values, m.label[i+1])
		}
		kind := prometheus.GaugeValue
		if m.kind == "counter" {
			kind = prometheus.CounterValue
		}
		c <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.name, m.help, names, nil), kind, m.value, values...)
	}
}

// What is exposed is, byte for byte, what Prometheus' own library writes of the same.
func TestExpose(t *testing.T) {
	texts := []string{"", "a", "ready", `a "quoted" one`, `back\slash`, "two\nlines", "ä, {b}=c"}
	numbers := []float64{0, 1, -1, 2.5, 1e6, 123456789, 1e21, 1e-9, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxInt64}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var all []metric
		for f := range r.IntN(6) {
			m := metric{name: "divisi_" + string(rune('a'+f)), kind: []string{"gauge", "counter"}[r.IntN(2)], help: texts[1+r.IntN(len(texts)-1)]}
			labels, used := r.IntN(3), [][]string{}
			for range 1 + r.IntN(4)*min(labels, 1) {
				m.label, m.value = nil, numbers[r.IntN(len(numbers))]
				for l := range labels {
					m.label = append(m.label, "l"+string(rune('0'+l)), texts[r.IntN(len(texts))])
				}
				if !slices.ContainsFunc(used, func(o []string) bool { return slices.Equal(o, m.label) }) {
					used, all = append(used, m.label), append(all, m)
				}
			}
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		reg := prometheus.NewRegistry()
		reg.MustRegister(exposed(all))
		want := httptest.NewRecorder()
		promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(want, httptest.NewRequest("GET", "/metrics", nil))
		var got bytes.Buffer
		if err := expose(&got, all); err != nil || got.String() != want.Body.String() {
			t.Fatalf("%v\n%s\nwant\n%s", err, got.String(), want.Body)
		}
	}
}
