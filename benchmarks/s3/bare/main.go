// Command bare reads from S3 as simply as its libraries allow, beside the engine:
//
//	bare parquet|csv|get ENDPOINT BUCKET PREFIX
//
// Each of some goroutines gets one object after the other. As many as there are CPUs read
// all columns of a table, and it prints what scan sum writes; for get, sixteen throw away
// what they get, and it prints how many bytes that was.
package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: bare parquet|csv|get http://HOST:PORT BUCKET PREFIX")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

// sum is what is known of rows.
type sum struct {
	rows, id, n int64
	amount      float64
	day, name   string
	first       time.Time // day, where it was read as one
}

func (s *sum) texts(day, name string) {
	if s.rows == 0 || day < s.day {
		s.day = strings.Clone(day)
	}
	if s.rows == 0 || name < s.name {
		s.name = strings.Clone(name)
	}
	s.rows++
}

func (s *sum) add(o sum) {
	if o.rows == 0 {
		return
	}
	all := s.rows + o.rows
	s.id, s.n, s.amount = s.id+o.id, s.n+o.n, s.amount+o.amount
	s.texts(o.day, o.name)
	s.rows = all
}

func run(ctx context.Context, format, endpoint, bucket, prefix string) error {
	read := map[string]func(context.Context, io.Reader, int64, *sum) error{"parquet": readParquet, "csv": readCSV, "get": readNothing}[format]
	if read == nil {
		return fmt.Errorf("no format is called %q", format)
	}
	host, ok := strings.CutPrefix(endpoint, "http://")
	if !ok {
		return fmt.Errorf("the endpoint %s is not http://", endpoint)
	}
	core, err := minio.NewCore(host, &minio.Options{Creds: credentials.NewEnvAWS(), Region: os.Getenv("AWS_REGION")})
	if err != nil {
		return err
	}
	keys := make(chan string)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(keys)
		for o := range core.ListObjectsIter(ctx, bucket, minio.ListObjectsOptions{Prefix: prefix + "/", Recursive: true}) {
			if o.Err != nil {
				return o.Err
			}
			if strings.HasSuffix(o.Key, "/_SUCCESS") {
				continue
			}
			select {
			case keys <- o.Key:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	readers := runtime.NumCPU()
	if format == "get" {
		readers = 16
	}
	sums := make([]sum, readers)
	for i := range sums {
		g.Go(func() error {
			for key := range keys {
				body, info, _, err := core.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
				if err == nil {
					err = errors.Join(read(ctx, body, info.Size, &sums[i]), body.Close())
				}
				if err != nil {
					return fmt.Errorf("%s: %w", key, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var all sum
	for _, s := range sums {
		all.add(s)
	}
	if format == "get" {
		fmt.Printf("%d bytes\n", all.n)
		return nil
	}
	fmt.Printf("rows,id,n,amount,day,name\n%d,%d,%d,%v,%s,%s\n", all.rows, all.id, all.n, all.amount, all.day, all.name)
	return nil
}

func readParquet(ctx context.Context, body io.Reader, size int64, s *sum) error {
	data := make([]byte, size)
	if _, err := io.ReadFull(body, data); err != nil {
		return err
	}
	f, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: 8192}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	records, err := r.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	for records.Next() {
		b := records.RecordBatch()
		id, n := b.Column(0).(*array.Int64).Int64Values(), b.Column(1).(*array.Int64).Int64Values()
		amount := b.Column(2).(*array.Float64).Float64Values()
		day, name := b.Column(3).(*array.String), b.Column(4).(*array.String)
		for i := range id {
			s.id += id[i]
			s.n += n[i]
			s.amount += amount[i]
			s.texts(day.Value(i), name.Value(i))
		}
	}
	if err := records.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func readNothing(_ context.Context, body io.Reader, _ int64, s *sum) error {
	n, err := io.Copy(io.Discard, body)
	s.n += n
	s.rows++
	return err
}

func readCSV(_ context.Context, body io.Reader, _ int64, s *sum) error {
	r := csv.NewReader(body)
	r.ReuseRecord = true
	if _, err := r.Read(); err != nil { // the header
		return err
	}
	for {
		f, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		id, err1 := strconv.ParseInt(f[0], 10, 64)
		n, err2 := strconv.ParseInt(f[1], 10, 64)
		amount, err3 := strconv.ParseFloat(f[2], 64)
		day, err4 := time.Parse(time.DateOnly, f[3]) // which the engine makes of the column too
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		if s.rows == 0 || day.Before(s.first) {
			s.first, s.day = day, day.Format(time.DateOnly)
		}
		s.id, s.n, s.amount = s.id+id, s.n+n, s.amount+amount
		s.texts(s.day, f[4])
	}
}
