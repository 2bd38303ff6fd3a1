package security

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// A lab is a folder of certificates.
type lab struct {
	t   *testing.T
	dir string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t, filepath.Join(t.TempDir(), "security")}
	if err := Init(l.dir, time.Hour); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) load(r Role) *Identity {
	l.t.Helper()
	id, err := Load(filepath.Join(l.dir, string(r)), r, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return id
}

// serve answers every method with nothing, where seen lets it.
func serve(t *testing.T, seen func(context.Context) error, options ...grpc.ServerOption) string {
	t.Helper()
	li, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(append(options, grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		if err := ss.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		if seen != nil {
			if err := seen(ss.Context()); err != nil {
				return err
			}
		}
		return ss.SendMsg(&emptypb.Empty{})
	}))...)
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(li) }()
	t.Cleanup(func() { s.Stop(); <-served })
	return li.Addr().String()
}

func call(t *testing.T, addr, method string, options ...grpc.DialOption) error {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+addr, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{})
}

func (l *lab) as(r, server Role) grpc.DialOption {
	return grpc.WithTransportCredentials(l.load(r).Dial(server))
}

// served are the services that go over the network; a host's goes over a socket that it
// inherits.
var served = []grpc.ServiceDesc{divisipb.Client_ServiceDesc, divisipb.Control_ServiceDesc, divisipb.Exchange_ServiceDesc}

func allMethods() (all []string) {
	for _, s := range served {
		for _, m := range s.Methods {
			all = append(all, "/"+s.ServiceName+"/"+m.MethodName)
		}
		for _, m := range s.Streams {
			all = append(all, "/"+s.ServiceName+"/"+m.StreamName)
		}
	}
	return all
}

// TestMethods: each method says who may call it, and no other is named.
func TestMethods(t *testing.T) {
	all := allMethods()
	for _, m := range all {
		if len(methods[m]) == 0 {
			t.Errorf("%s: nobody may call it", m)
		}
	}
	for m := range methods {
		if !slices.Contains(all, m) {
			t.Errorf("%s is not served", m)
		}
	}
}

// TestWhoMayCall calls every method in every role: what the table allows, and no more.
func TestWhoMayCall(t *testing.T) {
	l := newLab(t)
	coordinator := serve(t, nil, l.load(Coordinator).Serve(Client, Worker)...)
	worker := serve(t, nil, l.load(Worker).Serve(Worker, Coordinator, Job)...)
	id := l.load(Worker)
	job, err := DialAsJob(id.Bundle(), "j1", id.Token("j1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range allMethods() {
		addr, server := coordinator, Coordinator
		if strings.Contains(m, ".Exchange/") {
			addr, server = worker, Worker
		}
		for _, r := range Roles() {
			err := call(t, addr, m, l.as(r, server))
			if may := May(r, m); may && err != nil || !may && err == nil {
				t.Errorf("%s by a %s: %v", m, r, err)
			}
		}
		err := call(t, addr, m, job...)
		if may := May(Job, m); may && err != nil || !may && err == nil {
			t.Errorf("%s by a job: %v", m, err)
		}
		if err := call(t, addr, m, grpc.WithTransportCredentials((*Identity)(nil).Dial(server))); status.Code(err) != codes.Unavailable {
			t.Errorf("%s without TLS: %v", m, err)
		}
	}
	for name, token := range map[string]string{"another job's": id.Token("j2"), "none": ""} {
		o, err := DialAsJob(id.Bundle(), "j1", token)
		if err != nil {
			t.Fatal(err)
		}
		if err := call(t, worker, "/divisi.v1.Exchange/Fetch", o...); status.Code(err) != codes.Unauthenticated {
			t.Errorf("the token is %s: %v", name, err)
		}
	}
	// A server is not taken for one of another role, nor for one of another authority.
	if err := call(t, worker, "/divisi.v1.Exchange/Fetch", l.as(Worker, Coordinator)); err == nil || !strings.Contains(err.Error(), "is of a worker, want [coordinator]") {
		t.Errorf("a worker in the coordinator's place: %v", err)
	}
	if err := call(t, worker, "/divisi.v1.Exchange/Fetch", newLab(t).as(Worker, Worker)); err == nil || !strings.Contains(err.Error(), "not of an authority in ca.pem") {
		t.Errorf("a worker of another authority: %v", err)
	}
}

// TestJobsDataIsItsOwn: a task host may read what its own job has, a worker all.
func TestJobsDataIsItsOwn(t *testing.T) {
	l := newLab(t)
	id := l.load(Worker)
	addr := serve(t, func(ctx context.Context) error { return MayRead(ctx, "j2") }, id.Serve(Worker, Job)...)
	for job, want := range map[string]codes.Code{"j1": codes.PermissionDenied, "j2": codes.OK} {
		o, err := DialAsJob(id.Bundle(), job, id.Token(job))
		if err != nil {
			t.Fatal(err)
		}
		if err := call(t, addr, "/divisi.v1.Exchange/Fetch", o...); status.Code(err) != want {
			t.Errorf("job %s reads what j2 has: %v", job, err)
		}
	}
	if err := call(t, addr, "/divisi.v1.Exchange/Fetch", l.as(Worker, Worker)); err != nil {
		t.Error(err)
	}
}

// TestExpired: a certificate that has ended is named with its subject and date, by the side
// that has it and by the other, and counts again once it is replaced.
func TestExpired(t *testing.T) {
	l := newLab(t)
	later := func() time.Time { return time.Now().Add(2 * time.Hour) }
	const method = "/divisi.v1.Client/Hello"
	client, server := l.load(Client), l.load(Coordinator)
	addr := serve(t, nil, server.Serve(Client)...)
	trust := client.Dial(Coordinator)
	if err := call(t, addr, method, grpc.WithTransportCredentials(trust)); err != nil {
		t.Fatal(err)
	}
	want := func(when string, err error, subject string, own bool) {
		t.Helper()
		var e *Expired
		if !errors.Is(err, ErrCertExpired) || !errors.As(err, &e) || e.Subject != "CN=divisi "+subject || (e.File != "") != own || !e.At.Equal(client.Expires()) && !e.At.Equal(server.Expires()) {
			t.Errorf("%s: %v", when, err)
		}
	}
	client.now = later // it sees both ends; the other's comes first
	if err := call(t, addr, method, grpc.WithTransportCredentials(trust)); err == nil {
		t.Error("an expired certificate is accepted")
	}
	want("the server's", trust.Err(), "coordinator", false)
	_, err := client.certificate()
	want("the own one", err, "client", true)

	client.now, server.now = time.Now, later
	if err := call(t, addr, method, grpc.WithTransportCredentials(trust)); err == nil {
		t.Error("a server shows an expired certificate")
	}
	client.now = later
	if err := Renew(l.dir, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := call(t, addr, method, grpc.WithTransportCredentials(trust)); err != nil {
		t.Errorf("after new certificates: %v", err)
	}
	early := l.load(Client)
	early.now = func() time.Time { return time.Now().Add(-24 * time.Hour) }
	trust = early.Dial(Coordinator)
	if err := call(t, addr, method, grpc.WithTransportCredentials(trust)); err == nil || trust.Err() == nil || !strings.Contains(trust.Err().Error(), "do the clocks differ?") {
		t.Errorf("a clock of yesterday: %v, %v", err, trust.Err())
	}
}

// TestHalfReplaced: a certificate without its key does not count, and both do as soon as
// both are there.
func TestHalfReplaced(t *testing.T) {
	l := newLab(t)
	id := l.load(Worker)
	dir := filepath.Join(l.dir, "worker")
	before := id.current()
	other := newLab(t)
	for i, name := range []string{certFile, keyFile} {
		b, err := os.ReadFile(filepath.Join(other.dir, "worker", name))
		if err == nil {
			err = write(filepath.Join(dir, name), b)
		}
		if err != nil {
			t.Fatal(err)
		}
		if changed := id.current() != before; changed != (i == 1) {
			t.Errorf("after %s: changed is %v", name, changed)
		}
	}
}

// TestBadFolders: what is wrong with a folder is named.
func TestBadFolders(t *testing.T) {
	l := newLab(t)
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"another role's":  {func(dir string) error { return os.CopyFS(dir, os.DirFS(filepath.Join(l.dir, "client"))) }, "is of a client, want a worker's"},
		"nothing":         {func(dir string) error { return os.MkdirAll(dir, 0o700) }, "security init"},
		"no authority":    {func(dir string) error { return spoiled(l, dir, caFile, "x") }, "ca.pem: no certificate in PEM"},
		"no key of jobs":  {func(dir string) error { return spoiled(l, dir, jobKeyFile, "x") }, "job.key: no key"},
		"a key of others": {func(dir string) error { return spoiled(l, dir, keyFile, "x") }, "key.pem"},
	} {
		dir := filepath.Join(t.TempDir(), "folder")
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, Worker, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Init(l.dir, time.Hour); err == nil || !strings.Contains(err.Error(), "security renew") {
		t.Errorf("a second authority: %v", err)
	}
	if err := Renew(t.TempDir(), time.Hour); err == nil || !strings.Contains(err.Error(), "security init") {
		t.Errorf("no authority: %v", err)
	}
	if err := Renew(l.dir, 20*365*24*time.Hour); err == nil || !strings.Contains(err.Error(), "outlive") {
		t.Errorf("longer than its authority: %v", err)
	}
}

func spoiled(l *lab, dir, name, text string) error {
	return errors.Join(os.CopyFS(dir, os.DirFS(filepath.Join(l.dir, "worker"))), os.Chmod(filepath.Join(dir, name), 0o600), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// TestWarnings: the log is told 14 days, 3 days and a day before the end, and at it, each
// once; a new certificate begins anew.
func TestWarnings(t *testing.T) {
	l := newLab(t)
	if err := Renew(l.dir, 30*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	id, err := Load(filepath.Join(l.dir, "client"), Client, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	end := id.Expires()
	var w warnings
	said := ""
	for day := 30; day >= -2; day-- {
		for range 3 {
			id.now = func() time.Time { return end.Add(-time.Duration(day) * 24 * time.Hour) }
			log.Reset()
			id.warn(&w)
			if log.Len() > 0 {
				said += " " + time.Duration(day*24*int(time.Hour)).String()
			}
		}
	}
	if said != " 336h0m0s 72h0m0s 24h0m0s 0s" {
		t.Errorf("told at%s", said)
	}
	if err := Renew(l.dir, 2*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	id.now = time.Now
	if id.warn(&w); !strings.Contains(log.String(), "expires soon") {
		t.Errorf("a new one for two days: %s", &log)
	}
}

// TestLoopbackOnly: without TLS nothing listens where others can reach it.
func TestLoopbackOnly(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:0": true, "[::1]:70": true, "localhost:1": true, "127.3.2.1:5": true, "0.0.0.0:7070": false, ":7070": false, "10.0.0.5:1": false, "[::]:1": false, "example.org:1": false} {
		if err := LoopbackOnly(addr); (err == nil) != ok || err != nil && (!errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), "security init")) {
			t.Errorf("%s: %v", addr, err)
		}
		if err := PagesOnLoopback(addr); (err == nil) != ok {
			t.Errorf("pages on %s: %v", addr, err)
		}
	}
	if err := PagesOnLoopback(""); err != nil {
		t.Error(err)
	}
	if err := LoopbackOnly("nonsense"); err == nil || errors.Is(err, ErrOpen) {
		t.Error(err)
	}
}
