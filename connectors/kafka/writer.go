package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/dataflow"
)

const (
	// bufferBytes is how much an attempt keeps that the brokers have not yet taken.
	bufferBytes = 16 << 20
	// bufferBytesMin is the least, where memory is short.
	bufferBytesMin = 1 << 20
	// slab is how many records are made at a time.
	slab = 1024
)

// writer is one attempt to write one part. Nothing is begun before the first row:
// an attempt without rows has no transaction.
type writer struct {
	env         *dataflow.Env
	sink        *sink
	prepared    prepared
	transaction string // id; "" while there is none

	cluster *cluster
	cancel  context.CancelFunc
	ctx     context.Context // of what is produced
	held    int64           // reserved
	schema  *arrow.Schema
	columns columns
	ended   bool
	receipt dataflow.Receipt

	mu         sync.Mutex // guards what the client's goroutines tell
	err        error      // the first
	partitions map[int32]int64
	waiting    int       // records that the brokers have not taken
	moved      time.Time // when they took one last, or waiting began
	watch      *time.Timer
}

// receiptPayload is what Publish learns of a part.
type receiptPayload struct {
	Servers       []string `json:"servers,omitempty"`
	TransactionID string   `json:"transactional_id,omitempty"` // none: no rows, or no transaction
	ProducerID    int64    `json:"producer_id,omitempty"`
	Epoch         int16    `json:"epoch,omitempty"`
	Partitions    []int32  `json:"partitions,omitempty"`
}

// Open implements dataflow.Sink.
func (s *sink) Open(env *dataflow.Env) (dataflow.Writer, error) {
	p, err := decodePrepared(env.Output.Commit, "kafka.Write", s.address.path())
	if err != nil {
		return nil, err
	}
	w := &writer{env: env, sink: s, prepared: p, partitions: map[int32]int64{}, receipt: dataflow.Receipt{Task: env.Task}}
	return w, nil
}

var errEnded = errors.New("the writer has ended")

// begin connects and begins the transaction.
func (w *writer) begin(ctx context.Context) error {
	size, err := reserve(w.env.Memory, bufferBytes, bufferBytesMin)
	if err != nil {
		return err
	}
	w.held = size
	id := ""
	if w.sink.options.Delivery == transactional {
		id = w.sink.transactionID(w.env)
	}
	c, err := w.sink.address.connect("kafka.Write", func(p properties) ([]kgo.Opt, error) {
		return w.sink.producer(p, w.prepared, id, size)
	})
	if err != nil {
		return err
	}
	w.cluster = c
	// What was handed to the client outlives the call that did it.
	w.ctx, w.cancel = context.WithCancel(w.env.Context)
	within, err := c.properties.int("delivery.timeout.ms", deliverWithin.Milliseconds())
	if err != nil {
		return userError("kafka.Write", c.path(), err)
	}
	w.watch = time.AfterFunc(millis(within), func() { w.stalled(millis(within)) })
	if id == "" {
		return nil
	}
	w.transaction = id
	// Asked for first, so that the client knows what the cluster's transactions are
	// like when it begins one.
	if _, err := steadily(ctx, c, func() (int64, error) { pid, _, err := c.ProducerID(ctx); return pid, err }); err != nil {
		return err
	}
	return c.BeginTransaction()
}

// Write implements dataflow.Writer.
func (w *writer) Write(ctx context.Context, b dataflow.Batch) error {
	if w.ended {
		return errEnded
	}
	if b.NumRows() == 0 {
		return nil
	}
	if w.cluster == nil {
		if err := w.begin(ctx); err != nil {
			return w.fail(err)
		}
	}
	if w.schema == nil || !w.schema.Equal(b.Schema()) {
		c, err := columnsOf(b.Schema(), w.sink.options.Format)
		if err != nil {
			return w.fail(userError("kafka.Write", w.sink.address.path(), err))
		}
		w.schema, w.columns = b.Schema(), c
	}
	h, err := dataflow.RowHash(b)
	if err != nil {
		return w.fail(userError("kafka.Write", w.sink.address.path(), err))
	}
	if err := w.produce(ctx, b); err != nil {
		return w.fail(err)
	}
	w.receipt.Rows += b.NumRows()
	w.receipt.Hash += h
	return nil
}

// produce hands the rows to the client, which waits while its buffer is full.
func (w *writer) produce(ctx context.Context, b dataflow.Batch) error {
	rows, err := w.columns.open(b)
	if err != nil {
		return userError("kafka.Write", w.sink.address.path(), err)
	}
	for from := 0; from < int(b.NumRows()); from += slab {
		n := min(slab, int(b.NumRows())-from)
		records := make([]kgo.Record, n)
		var buf []byte // what the records point to; the batch stays the caller's
		for i := range records {
			r := &records[i]
			r.Topic, r.Partition = w.sink.address.topic, anyPartition
			if buf, err = rows.record(r, buf, from+i); err != nil {
				return userError("kafka.Write", fmt.Sprintf("%s, row %d", w.sink.address.path(), w.receipt.Rows+int64(from+i)), err)
			}
			if w.transaction == "" {
				w.identify(r, w.receipt.Rows+int64(from+i))
			}
			w.receipt.Bytes += int64(len(r.Key) + len(r.Value))
		}
		for i := range records {
			if err := w.failed(); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			w.mu.Lock()
			if w.waiting++; w.waiting == 1 {
				w.moved = time.Now()
			}
			w.mu.Unlock()
			w.cluster.Produce(w.ctx, &records[i], w.produced)
		}
	}
	return nil
}

// identify tells copies of a row apart that attempts without a transaction leave.
func (w *writer) identify(r *kgo.Record, row int64) {
	t := w.env.Task
	r.Headers = append(r.Headers,
		kgo.RecordHeader{Key: "divisi-job", Value: []byte(w.env.Output.Commit.Job)},
		kgo.RecordHeader{Key: "divisi-part", Value: strconv.AppendInt(nil, int64(w.env.Output.Part), 10)},
		kgo.RecordHeader{Key: "divisi-attempt", Value: strconv.AppendInt(nil, int64(t.Attempt), 10)},
		kgo.RecordHeader{Key: "divisi-row", Value: strconv.AppendInt(nil, row, 10)})
}

// produced is told of each record.
func (w *writer) produced(r *kgo.Record, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting--
	if err == nil {
		w.moved = time.Now()
		w.partitions[r.Partition]++
		return
	}
	if w.err == nil {
		w.err = fmt.Errorf("record of %d bytes: %w", len(r.Key)+len(r.Value), err)
	}
}

// stalled gives up when the brokers have taken nothing for so long. The client's own
// limit is no use: it counts from a record's timestamp, which a row may set.
func (w *writer) stalled(within time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := within
	if w.waiting > 0 {
		left = within - time.Since(w.moved)
	}
	if left > 0 {
		w.watch.Reset(left)
		return
	}
	if w.err == nil {
		w.err = fmt.Errorf("%w: %d records wait, and the brokers have taken none for %v", errStalled, w.waiting, within)
	}
	w.cancel()
}

var errStalled = errors.New("the brokers take no records")

func (w *writer) failed() error { w.mu.Lock(); defer w.mu.Unlock(); return w.err }

// Seal implements dataflow.Writer. All rows are with the brokers then, in a
// transaction that nobody has ended.
func (w *writer) Seal(ctx context.Context) (dataflow.Receipt, error) {
	if w.ended {
		return w.receipt, nil
	}
	var p receiptPayload
	if w.cluster != nil {
		if err := w.flush(ctx); err != nil {
			return dataflow.Receipt{}, w.fail(err)
		}
		var sum int64
		w.mu.Lock()
		for _, n := range w.partitions {
			sum += n
		}
		p.Partitions = slices.Sorted(maps.Keys(w.partitions))
		w.mu.Unlock()
		if sum != w.receipt.Rows {
			return dataflow.Receipt{}, &dataflow.Error{Op: "kafka.Seal", Task: w.env.Task.String(), Path: w.cluster.path(), Kind: dataflow.Fatal,
				Err: fmt.Errorf("the brokers took %d records of %d", sum, w.receipt.Rows)}
		}
		p.Servers = w.cluster.servers
	}
	if w.transaction != "" {
		var err error
		p.TransactionID = w.transaction
		if p.ProducerID, p.Epoch, err = w.cluster.ProducerID(ctx); err != nil {
			return dataflow.Receipt{}, w.fail(err)
		}
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return dataflow.Receipt{}, w.fail(err)
	}
	w.receipt.Payload = raw
	w.close()
	return w.receipt, nil
}

// flush waits until the brokers have taken all records, or it is no use to wait.
func (w *writer) flush(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	err := w.cluster.Flush(ctx)
	if first := w.failed(); first != nil {
		return first
	}
	return err
}

// Abort implements dataflow.Writer.
func (w *writer) Abort(ctx context.Context) error {
	if w.ended {
		return nil
	}
	begun := w.cluster != nil
	w.close()
	if !begun || w.transaction == "" {
		return nil
	}
	c, err := w.sink.address.connect("kafka.Abort", nil)
	if err != nil {
		return err
	}
	defer c.Close()
	return wrap("kafka.Abort", c.path(), c.abort(ctx, w.transaction))
}

// close lets the client go. The transaction, if any, stays as it is.
func (w *writer) close() {
	w.ended = true
	if w.cluster != nil {
		w.cancel()
		if w.watch != nil {
			w.watch.Stop()
		}
		w.cluster.Close()
	}
	w.env.Memory.Release(w.held)
	w.held = 0
}

func (w *writer) fail(err error) error {
	path := w.sink.address.path()
	if w.cluster != nil {
		path = w.cluster.path()
	}
	return wrap("kafka.Write", path, err)
}
