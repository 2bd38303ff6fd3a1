package dataflow_test

import (
	"iter"
	"strings"
	"testing"

	_ "github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/csv"
	_ "github.com/divisi-data/divisi/connectors/files/jsonl"
	_ "github.com/divisi-data/divisi/connectors/files/text"
	df "github.com/divisi-data/divisi/dataflow"
	_ "github.com/divisi-data/divisi/dataflow/ops"
	"github.com/divisi-data/divisi/dataflow/plan"
)

func words(line string, emit df.Emit[string]) {
	for w := range strings.FieldsSeq(line) {
		emit(w)
	}
}

func wordcount(j *df.Job) {
	lines := df.Read(j, df.Lines(j.Arg(0)))
	counts := df.Count(df.FlatMap(lines, words))
	df.Write(counts, df.TSV[df.Pair[string, int64]](j.Arg(1)))
}

type order struct {
	ID       int64
	Customer string
	Amount   df.Decimal `df:"Amount,decimal(15,2)"`
	Tags     []string
}

// everything uses each call once, so that its arguments are those the kinds know.
func everything(j *df.Job) {
	orders := df.Read(j, df.FromJSONLines[order](j.Arg(0)).SkipBad(10).MaxRecordBytes(1<<20))
	flat := df.Map(orders, func(o order) df.Pair[string, int64] { return df.KV(o.Customer, o.ID) })
	other := df.Read(j, df.FromCSV[df.Pair[string, int64]](j.Arg(0)).Option("header", false))
	df.Write(df.Join(flat, other), df.JSONLines[df.Pair[string, df.Joined[int64, int64]]]("a").Compress(df.Gzip))
	df.Write(df.LeftJoin(df.Sum(flat), other, df.BroadcastRight()), df.JSONLines[df.Pair[string, df.Joined[int64, *int64]]]("b"))
	df.Write(df.FullJoin(df.Cached(df.Sum(flat)), df.CountByKey(flat)), df.JSONLines[df.Pair[string, df.Joined[*int64, *int64]]]("c"))
	df.Write(df.AntiJoin(flat, df.Read(j, df.FromTSV[df.Pair[string, int64]](j.Arg(0)))), df.CSV[df.Pair[string, int64]]("d"))
	df.Write(df.SortBy(df.Read(j, df.FromRecords(10, 100, j.Arg(0))), df.Asc("key")), df.Records(10, 100, "e"))
	df.Write(df.TopN(df.Distinct(df.Union(df.Keys(flat), df.Repartition(df.Read(j, df.Lines(j.Arg(0))), 3))), 3, strings.ToUpper), df.Text("f"))
	g := df.CoGroup(flat, df.Max(other))
	df.Write(df.MapCoGroups(g, func(k string, a, b iter.Seq[int64], emit df.Emit[string]) { emit(k) }), df.Text("g"))
	n := df.SideInput(df.SampleN(other, 5, 1))
	df.Write(df.FilterTask(flat, func(t *df.Task) func(df.Pair[string, int64]) bool {
		rows := n.Get(t)
		return func(df.Pair[string, int64]) bool { return len(rows) > 0 }
	}, n), df.TSV[df.Pair[string, int64]]("h"))
	df.Write(df.ReduceGroups(df.GroupByKeySorted(flat, func(v int64) int64 { return v }), func(_ string, vs iter.Seq[int64]) int64 {
		for v := range vs {
			return v
		}
		return 0
	}), df.TSV[df.Pair[string, int64]]("i"))
}

func TestGraphsCompile(t *testing.T) {
	for name, build := range map[string]func(*df.Job){"wordcount": wordcount, "everything": everything} {
		var prints []string
		for range 2 { // the same in every process
			j := df.NewJob(name, []string{"mem:///in", "mem:///out"})
			build(j)
			g, err := j.Graph()
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan.Compile(g, plan.Options{Slots: 4})
			if err != nil {
				t.Fatal(err)
			}
			prints = append(prints, p.Plan.Fingerprint)
			if name == "wordcount" && len(p.Plan.Stages) != 2 {
				t.Errorf("%d stages", len(p.Plan.Stages))
			}
		}
		if prints[0] != prints[1] {
			t.Errorf("%s has two fingerprints", name)
		}
	}
}
