// Package security is who may call whom, and how each proves who it is: mutual TLS 1.3
// between coordinator, workers and clients, with certificates of one private authority
// that carry a role, and a key of each job for its tasks.
//
// A certificate names a role (divisi:///role/worker) and no host: one is trusted for its
// role by who made it, wherever it runs. The key of a coordinator is thus of no use to
// play a worker, nor the other way round. Files that are replaced count from the next
// connection on; connections that are there stay.
package security

import (
	"net/url"
	"slices"
	"strings"
)

// A Role is what a component is to others.
type Role string

// The roles of certificates, and that of a job's task host, which has none and shows its
// job's token instead.
const (
	Coordinator Role = "coordinator"
	Worker      Role = "worker"
	Client      Role = "client"
	Job         Role = "job"
)

// Roles are those that have certificates.
func Roles() []Role { return []Role{Coordinator, Worker, Client} }

// methods says who may call what is served over the network. What is not here, nobody
// may; a test walks all services.
var methods = map[string][]Role{
	"/divisi.v1.Client/Hello":        {Client},
	"/divisi.v1.Client/HasArtifacts": {Client},
	"/divisi.v1.Client/PutArtifact":  {Client},
	"/divisi.v1.Client/Submit":       {Client},
	"/divisi.v1.Client/GetJob":       {Client},
	"/divisi.v1.Client/ListJobs":     {Client},
	"/divisi.v1.Client/CancelJob":    {Client},
	"/divisi.v1.Client/RetryJob":     {Client},
	"/divisi.v1.Client/WatchJob":     {Client},
	"/divisi.v1.Client/Events":       {Client},
	"/divisi.v1.Client/ListWorkers":  {Client},
	"/divisi.v1.Client/DrainWorker":  {Client},
	"/divisi.v1.Client/Logs":         {Client},

	"/divisi.v1.Control/Attach":      {Worker},
	"/divisi.v1.Control/Epoch":       {Worker},
	"/divisi.v1.Control/GetArtifact": {Worker},

	"/divisi.v1.Exchange/Fetch":   {Worker, Job},
	"/divisi.v1.Exchange/Copy":    {Worker},
	"/divisi.v1.Exchange/ReadLog": {Coordinator},
}

// May reports whether a role may call a method, "/package.Service/Method".
func May(r Role, method string) bool { return slices.Contains(methods[method], r) }

func (r Role) uri() *url.URL { return &url.URL{Scheme: "divisi", Path: "/role/" + string(r)} }

// roleOf is the role among a certificate's names; "" for none.
func roleOf(names []*url.URL) Role {
	for _, u := range names {
		if name, ok := strings.CutPrefix(u.Path, "/role/"); ok && u.Scheme == "divisi" {
			return Role(name)
		}
	}
	return ""
}
