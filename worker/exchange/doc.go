// Package exchange moves blocks between workers: a server that sends ranges of the
// outputs on its disks, unchanged, and a client that fetches them, or reads them as
// files where they lie on the same machine. It knows nothing of rows.
package exchange
