package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/divisi-data/divisi/dataflow"
)

// atOnce is how many transactions are ended at a time.
const atOnce = 8

// wonPart is a part whose transaction is to be committed.
type wonPart struct {
	receiptPayload
	task dataflow.TaskID
}

// Publish implements dataflow.Sink: it commits the winners' transactions, from what
// their receipts say and nothing else. It may run again, in any process.
func (s *sink) Publish(ctx context.Context, c dataflow.Commit, won []dataflow.Receipt) error {
	const op = "kafka.Publish"
	var parts []wonPart
	for _, r := range won {
		w := wonPart{task: r.Task}
		if err := json.Unmarshal(r.Payload, &w.receiptPayload); err != nil {
			return &dataflow.Error{Op: op, Task: r.Task.String(), Kind: dataflow.Fatal, Err: fmt.Errorf("payload of the receipt: %w", err)}
		}
		if w.TransactionID != "" {
			parts = append(parts, w)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	prep, err := decodePrepared(c, op, s.address.path())
	if err != nil {
		return err
	}
	at := s.address
	at.servers = parts[0].Servers // of this very cluster, whatever the environment says now
	cl, err := at.connect(op, func(properties) ([]kgo.Opt, error) { return []kgo.Opt{prep.versions()}, nil })
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.alive(ctx, parts); err != nil {
		return wrap(op, cl.path(), err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, p := range parts {
		g.Go(func() error { return wrap(op, cl.path(), cl.commit(ctx, p)) })
	}
	return g.Wait()
}

// alive makes sure that no transaction was given up, before the first is
// committed: then nothing of the job becomes visible.
func (c *cluster) alive(ctx context.Context, parts []wonPart) error {
	states := make([]kmsg.DescribeTransactionsResponseTransactionState, len(parts))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, p := range parts {
		g.Go(func() (err error) {
			states[i], err = steadily(gctx, c, func() (kmsg.DescribeTransactionsResponseTransactionState, error) {
				return c.describe(gctx, p.TransactionID)
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, p := range parts {
		t := states[i]
		switch {
		case t.State == "": // never heard of
			return p.expired(kerr.TransactionalIDNotFound)
		case t.State == "PrepareCommit", t.State == "CompleteCommit": // by an earlier try
		case t.State == "Ongoing" && t.ProducerID == p.ProducerID && t.ProducerEpoch == p.Epoch:
		default:
			return p.expired(fmt.Errorf("it is in state %s of producer %d, epoch %d", t.State, t.ProducerID, t.ProducerEpoch))
		}
	}
	return nil
}

// describe asks for a transaction's state; one that is not known has none.
func (c *cluster) describe(ctx context.Context, id string) (kmsg.DescribeTransactionsResponseTransactionState, error) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	kresp, err := c.coordinated(ctx, id, req)
	if err != nil {
		return kmsg.DescribeTransactionsResponseTransactionState{}, err
	}
	resp := kresp.(*kmsg.DescribeTransactionsResponse)
	if len(resp.TransactionStates) != 1 {
		return kmsg.DescribeTransactionsResponseTransactionState{}, fmt.Errorf("%d states of transaction %s", len(resp.TransactionStates), id)
	}
	t := resp.TransactionStates[0]
	if err := kerr.ErrorForCode(t.ErrorCode); errors.Is(err, kerr.TransactionalIDNotFound) {
		t.State = ""
	} else if err != nil {
		return t, err
	}
	return t, nil
}

// coordinated asks the broker that coordinates a transaction, found anew each time:
// what the client remembers may be dead.
func (c *cluster) coordinated(ctx context.Context, id string, req kmsg.Request) (kmsg.Response, error) {
	found := kadm.NewClient(c.Client).FindTxnCoordinators(ctx, id)[id]
	if found.Err != nil {
		return nil, fmt.Errorf("coordinator of transaction %s: %w", id, found.Err)
	}
	resp, err := c.Broker(int(found.NodeID)).Request(ctx, req)
	dataflow.Advance(ctx)
	if err != nil {
		return nil, fmt.Errorf("broker %d: %w", found.NodeID, err)
	}
	return resp, nil
}

func (p wonPart) expired(why error) error {
	return fmt.Errorf("%w: transaction %s of task %s, producer %d, epoch %d: %w", ErrTransactionExpired, p.TransactionID, p.task, p.ProducerID, p.Epoch, why)
}

// commit ends a transaction and asks again until the broker says that it is
// complete. A broker answers success to the request that ends it, "concurrent
// transactions" while it writes the marks, and success again, however often, when
// the records are visible.
func (c *cluster) commit(ctx context.Context, p wonPart) error {
	taken := false
	a := newAgain(c.patience)
	for {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.TransactionID, p.ProducerID, p.Epoch, true
		resp, err := c.coordinated(ctx, p.TransactionID, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.(*kmsg.EndTxnResponse).ErrorCode)
		}
		switch {
		case err == nil && taken:
			return nil
		case err == nil:
			taken = true
			a.reset()
			continue
		case errors.Is(err, kerr.ConcurrentTransactions):
		case errors.Is(err, kerr.InvalidTxnState), errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch),
			errors.Is(err, kerr.InvalidProducerIDMapping), errors.Is(err, kerr.TransactionalIDNotFound):
			return p.expired(err)
		case !retriable(ctx, err):
			return err
		}
		if !a.wait(ctx) {
			return errors.Join(ctx.Err(), fmt.Errorf("transaction %s is not known to be committed: %w", p.TransactionID, err))
		}
	}
}

// Clean implements dataflow.Sink: it aborts every transaction of the job that is
// open, whoever left it, and returns when none is.
func (s *sink) Clean(ctx context.Context, c dataflow.Commit) error {
	const op = "kafka.Clean"
	if s.options.Delivery == idempotent {
		return nil
	}
	cl, err := s.address.connect(op, nil)
	if err != nil {
		return err
	}
	defer cl.Close()
	return wrap(op, cl.path(), cl.abortAll(ctx, s.transactionPrefix(c.Job)))
}

func (c *cluster) abortAll(ctx context.Context, prefix string) error {
	a := newAgain(c.patience)
	for {
		open, err := steadily(ctx, c, func() (map[string]string, error) { return c.open(ctx, prefix) })
		if err != nil || len(open) == 0 {
			return err
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(atOnce)
		for id, state := range open {
			if state == "Ongoing" { // in any other state it is about to end
				g.Go(func() error { return c.abort(gctx, id) })
			}
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if !a.wait(ctx) {
			return errors.Join(ctx.Err(), fmt.Errorf("%d transactions do not end: %v", len(open), slices.Sorted(maps.Keys(open))))
		}
	}
}

// abort fences whoever writes under a transactional id, and with that aborts what
// it has written. It returns when the records are known to be aborted.
func (c *cluster) abort(ctx context.Context, id string) error {
	a := newAgain(c.patience)
	for {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = &id
		req.TransactionTimeoutMillis = 1000 // of transactions that will not be
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := c.coordinated(ctx, id, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.(*kmsg.InitProducerIDResponse).ErrorCode)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) && !retriable(ctx, err) {
			return err
		}
		if !a.wait(ctx) {
			return errors.Join(ctx.Err(), fmt.Errorf("transaction %s is not known to be aborted: %w", id, err))
		}
	}
}

// stateTopic holds the transactions. Each of its partitions is coordinated by the
// broker that leads it.
const stateTopic = "__transaction_state"

// open lists the transactions under a prefix that have not ended, with their
// states. It answers only if every coordinator did, so that none is missed while
// coordinators move.
func (c *cluster) open(ctx context.Context, prefix string) (map[string]string, error) {
	before, all, err := c.coordinators(ctx)
	if err != nil {
		return nil, err
	}
	open := map[string]string{}
	for _, broker := range all {
		req := kmsg.NewPtrListTransactionsRequest()
		req.StateFilters = []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"}
		kresp, err := c.Broker(int(broker)).Request(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("broker %d: %w", broker, err)
		}
		resp := kresp.(*kmsg.ListTransactionsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, fmt.Errorf("broker %d: %w", broker, err)
		}
		for _, t := range resp.TransactionStates {
			if strings.HasPrefix(t.TransactionalID, prefix) {
				open[t.TransactionalID] = t.TransactionState
			}
		}
	}
	after, _, err := c.coordinators(ctx)
	if err != nil {
		return nil, err
	}
	if !maps.Equal(before, after) {
		return nil, fmt.Errorf("%w: they moved", kerr.CoordinatorNotAvailable)
	}
	return open, nil
}

// leadership is who leads a partition, since when.
type leadership struct{ leader, epoch int32 }

// coordinators are the leaders of the partitions of the transactions' topic, and
// the brokers to ask.
func (c *cluster) coordinators(ctx context.Context) (map[int32]leadership, []int32, error) {
	md, err := kadm.NewClient(c.Client).Metadata(ctx, stateTopic)
	if err != nil {
		return nil, nil, err
	}
	leaders := map[int32]leadership{}
	switch t := md.Topics[stateTopic]; {
	case errors.Is(t.Err, kerr.UnknownTopicOrPartition): // no transaction ever
	case errors.Is(t.Err, kerr.TopicAuthorizationFailed): // who leads may not be seen: ask all
	case t.Err != nil:
		return nil, nil, t.Err
	default:
		for _, p := range t.Partitions {
			if p.Leader < 0 || !slices.Contains(md.Brokers.NodeIDs(), p.Leader) {
				return nil, nil, fmt.Errorf("%w: partition %d of %s has no leader", kerr.CoordinatorNotAvailable, p.Partition, stateTopic)
			}
			leaders[p.Partition] = leadership{p.Leader, p.LeaderEpoch}
		}
	}
	return leaders, md.Brokers.NodeIDs(), nil
}
