package hdfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/colinmarc/hdfs/v2"
	"github.com/divisi-data/divisi/storage"
)

// nameNodeStall is how long a NameNode may take to answer before another is asked.
const nameNodeStall = 10 * time.Second

// A lane is a connection to the active NameNode, made when it is first needed. It
// stays for the life of the process: the library finds the active one anew when
// that changes.
type lane struct {
	fs        *FS
	dataStall time.Duration // how long a DataNode may take

	mu sync.Mutex
	c  *connection
}

// A connection is a connected client of the library.
type connection struct {
	*hdfs.Client
	namenode
	replication int
	blockSize   int64
	chunk       int // bytes under one checksum

	// The library fetches the key for protected data connections once, and not in
	// a way that goroutines may do at the same time.
	protected bool
	keyed     atomic.Bool
	key       sync.Mutex
}

func (l *lane) get() (*connection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.c != nil {
		return l.c, nil
	}
	o := l.fs.options
	if o.KerberosClient != nil {
		k, err := kerberos()
		if err != nil {
			return nil, storage.Invalid(err)
		}
		o.KerberosClient = k
	}
	var unknown error
	dial := dialer(nameNodeStall)
	var once sync.Mutex
	o.NamenodeDialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if unknownHost(err) {
			once.Lock()
			unknown = err
			once.Unlock()
		}
		return c, err
	}
	o.DatanodeDialFunc = dialer(l.dataStall)
	client, err := hdfs.NewClient(o)
	if err != nil {
		once.Lock()
		defer once.Unlock()
		if unknown != nil {
			return nil, final{unknown}
		}
		return nil, fmt.Errorf("%w (NameNodes %s)", err, strings.Join(o.Addresses, ", "))
	}
	c := &connection{Client: client, replication: l.fs.replication, blockSize: l.fs.blockSize}
	if c.namenode, err = reach(client); err != nil {
		return nil, final{errors.Join(err, client.Close())}
	}
	defaults, err := client.ServerDefaults()
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	if c.replication == 0 {
		c.replication = defaults.Replication
	}
	if c.blockSize == 0 {
		c.blockSize = defaults.BlockSize
	}
	c.chunk = defaults.BytesPerChecksum
	c.protected = o.DataTransferProtection != "" || defaults.EncryptDataTransfer
	l.c = c
	l.fs.met.Store(true)
	return c, nil
}

// data runs what may be the first to open a data connection.
func (c *connection) data(f func() error) error {
	if !c.protected || c.keyed.Load() {
		return f()
	}
	c.key.Lock()
	defer c.key.Unlock()
	err := f()
	c.keyed.Store(err == nil)
	return err
}

// do runs f with the reading lane until it succeeds or fails for good.
func (fs *FS) do(ctx context.Context, f func(c *connection) error) error {
	return fs.retry(ctx, func() error {
		c, err := fs.reading.get()
		if err != nil {
			return err
		}
		return f(c)
	})
}

// retry runs f until it succeeds, fails for good, or has had its time.
func (fs *FS) retry(ctx context.Context, f func() error) error {
	began := time.Now()
	pause := 50 * time.Millisecond
	fs.repeats.First()
	for {
		err := interpret(f())
		storage.Advance(ctx)
		if err == nil || !passing(err) {
			return err
		}
		limit, passed := fs.patience, storage.ErrTransient
		if !fs.met.Load() {
			limit, passed = fs.unmet, storage.ErrUnreachable
		}
		delay := max(pause, fs.repeats.Take())
		if time.Since(began)+delay > limit {
			fs.repeats.Return()
			return fmt.Errorf("%w: tried for %v: %w", passed, time.Since(began).Round(time.Second), err)
		}
		if werr := wait(ctx, delay); werr != nil {
			return fmt.Errorf("%w, after %w", werr, err)
		}
		pause = min(2*pause, time.Second)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
