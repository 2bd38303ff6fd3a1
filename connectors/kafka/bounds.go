package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/divisi-data/divisi/dataflow"
)

// log is what a partition holds for readers of committed records; end is exclusive.
type log struct{ start, end int64 }

// logs asks for all partitions of the cluster's topic.
func logs(ctx context.Context, c *cluster) (map[int32]log, error) {
	adm := kadm.NewClient(c.Client)
	starts, err := listed(c.topic)(adm.ListStartOffsets(ctx, c.topic))
	if err != nil {
		return nil, err
	}
	ends, err := listed(c.topic)(adm.ListCommittedOffsets(ctx, c.topic))
	if err != nil {
		return nil, err
	}
	have := map[int32]log{}
	for p, start := range starts {
		if end, ok := ends[p]; ok {
			have[p] = log{start, max(start, end)}
		}
	}
	return have, nil
}

// listed takes the offsets of all partitions of a topic out of an answer.
func listed(topic string) func(kadm.ListedOffsets, error) (map[int32]int64, error) {
	return func(l kadm.ListedOffsets, err error) (map[int32]int64, error) {
		if err != nil {
			return nil, err
		}
		out := map[int32]int64{}
		for p, o := range l[topic] {
			if o.Err != nil {
				return nil, fmt.Errorf("offsets of partition %d: %w", p, o.Err)
			}
			out[p] = o.Offset
		}
		if len(out) == 0 {
			return nil, kerr.UnknownTopicOrPartition
		}
		return out, nil
	}
}

// ranges fixes the ranges to read, in order of partitions, and how many offsets
// the policy gave up. Partitions with nothing to read are left out.
func ranges(ctx context.Context, c *cluster, id topicID, count bool) (pieces []piece, lost int64, err error) {
	have, err := logs(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	from, err := c.offsets(ctx, c.from, have)
	if err != nil {
		return nil, 0, fmt.Errorf("from: %w", err)
	}
	to, err := c.offsets(ctx, c.to, have)
	if err != nil {
		return nil, 0, fmt.Errorf("to: %w", err)
	}
	for _, p := range slices.Sorted(maps.Keys(have)) {
		start, ok1 := from[p]
		end, ok2 := to[p]
		l := have[p]
		if !ok1 || !ok2 || start >= end {
			continue
		}
		if start < l.start || end > l.end {
			if !count {
				return nil, 0, &OffsetRangeError{c.topic, p, start, end, l.start, l.end}
			}
			kept := piece{Start: max(start, l.start), End: min(end, l.end)}
			kept.End = max(kept.Start, kept.End)
			lost += end - start - (kept.End - kept.Start)
			if start, end = kept.Start, kept.End; start == end {
				continue
			}
		}
		pieces = append(pieces, piece{c.topic, id, p, start, end})
	}
	return pieces, lost, nil
}

// offsets is one bound in numbers. A partition that it leaves out is not read.
func (c *cluster) offsets(ctx context.Context, b bound, have map[int32]log) (map[int32]int64, error) {
	out := map[int32]int64{}
	switch b.kind {
	case earliest:
		for p, l := range have {
			out[p] = l.start
		}
	case latest:
		for p, l := range have {
			out[p] = l.end
		}
	case atTime:
		at, err := listed(c.topic)(kadm.NewClient(c.Client).ListOffsetsAfterMilli(ctx, b.time.UnixMilli(), c.topic))
		if err != nil {
			return nil, err
		}
		for p, l := range have {
			if o, ok := at[p]; ok && o >= 0 && o < l.end {
				out[p] = max(o, l.start)
			} else {
				out[p] = l.end // nothing that is committed is so young
			}
		}
	case atOffsets:
		for p, o := range b.offsets {
			if _, ok := have[p]; !ok {
				return nil, &dataflow.Error{Op: "kafka.Splits", Path: c.path(), Kind: dataflow.User,
					Err: dataflow.Mark(fmt.Errorf("partition %d is named, the topic has %d", p, len(have)), ErrOffsetOutOfRange)}
			}
			out[p] = o
		}
	case ofGroup:
		committed, err := kadm.NewClient(c.Client).FetchOffsets(ctx, b.group)
		if err != nil {
			return nil, err
		}
		any := false
		for p, l := range have {
			out[p] = l.start
			r, ok := committed.Lookup(c.topic, p)
			if !ok {
				continue
			}
			if r.Err != nil {
				return nil, r.Err
			}
			if r.At >= 0 {
				out[p], any = r.At, true
			}
		}
		if !any {
			return nil, &dataflow.Error{Op: "kafka.Splits", Path: c.path(), Kind: dataflow.User,
				Err: dataflow.Mark(fmt.Errorf("the group %q has committed no offset of this topic", b.group), dataflow.ErrNoInput)}
		}
	}
	return out, nil
}

// steadily asks until the brokers answer, or it is no use.
func steadily[T any](ctx context.Context, c *cluster, ask func() (T, error)) (T, error) {
	a := newAgain(c.patience)
	for missing := 0; ; {
		v, err := ask()
		dataflow.Advance(ctx)
		var e *dataflow.Error
		if errors.Is(err, kerr.UnknownTopicOrPartition) && missing < missingMax && a.wait(ctx) {
			missing++ // a topic that was made a moment ago is not known everywhere yet
			continue
		}
		if err == nil || errors.As(err, &e) || !retriable(ctx, err) || !a.wait(ctx) {
			switch {
			case err == nil:
			case ctx.Err() != nil:
				err = ctx.Err()
			case retriable(ctx, err):
				err = fmt.Errorf("%w, in %v: %w", ErrUnreachable, c.patience, err)
			}
			return v, err
		}
	}
}
