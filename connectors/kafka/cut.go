package kafka

import (
	"context"
	"encoding/json"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/divisi-data/divisi/dataflow"
)

const (
	targetMin = 16 << 20
	targetMax = 128 << 20
	// guessedBytes is how large a record is believed to be where nobody says.
	guessedBytes = 256
	// splitsMax bounds the splits of one topic.
	splitsMax = 100_000
)

// plannedTopic is what a plan is made from.
type plannedTopic struct {
	kadm.Metadata
	pieces []piece
	lost   int64
	size   map[int32]float64 // bytes per offset
}

// bytesPerOffset estimates by the size of the partitions' logs. It is advice: a
// client that may not ask gets none.
func bytesPerOffset(ctx context.Context, c *cluster) map[int32]float64 {
	size := map[int32]float64{}
	have, err := logs(ctx, c)
	if err != nil {
		return size
	}
	var set kadm.TopicsSet
	for p := range have {
		set.Add(c.topic, p)
	}
	dirs, _ := kadm.NewClient(c.Client).DescribeAllLogDirs(ctx, set)
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if l := have[p.Partition]; l.end > l.start {
				size[p.Partition] = max(size[p.Partition], float64(p.Size)/float64(l.end-l.start))
			}
		})
	})
	return size
}

func (t plannedTopic) bytes(p piece) int64 {
	per, ok := t.size[p.Partition]
	if !ok || per <= 0 {
		per = guessedBytes
	}
	return max(1, int64(per*float64(p.End-p.Start)))
}

// cut makes splits of about the same size, none of more than one partition.
func (t plannedTopic) cut(hint dataflow.SplitHint) ([]dataflow.Split, error) {
	var total, offsets int64
	for _, p := range t.pieces {
		total += t.bytes(p)
		offsets += p.End - p.Start
	}
	target := max(targetMin, min(targetMax, total/int64(max(1, hint.Slots)*4)))
	if hint.MaxBytes > 0 {
		target = min(target, hint.MaxBytes)
	}
	if offsets > splitsMax {
		target = max(target, total/splitsMax)
	}
	lost := t.lost
	var splits []dataflow.Split
	for _, p := range t.pieces {
		n := min((t.bytes(p)+target-1)/target, p.End-p.Start)
		for i := range n {
			part := p
			part.Start = p.Start + (p.End-p.Start)*i/n
			part.End = p.Start + (p.End-p.Start)*(i+1)/n
			split, err := splitOf(payload{[]piece{part}, lost}, t.bytes(part))
			if err != nil {
				return nil, err
			}
			split.Hosts = t.hosts(p.Partition)
			splits = append(splits, split)
			lost = 0
		}
	}
	return splits, nil
}

func splitOf(p payload, bytes int64) (dataflow.Split, error) {
	raw, err := json.Marshal(p)
	return dataflow.Split{ID: p.Pieces[0].String(), Bytes: bytes, Payload: raw}, err
}

// hosts is where the partition's leader runs: it serves the records, unless the
// brokers know racks.
func (t plannedTopic) hosts(partition int32) []string {
	leader := t.Topics[t.pieces[0].Topic].Partitions[partition].Leader
	for _, b := range t.Brokers {
		if b.NodeID == leader {
			return []string{b.Host}
		}
	}
	return nil
}
