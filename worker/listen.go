package worker

import (
	"fmt"
	"net"
)

// loopbackOnly refuses to be reached from outside while there is neither encryption nor
// authentication.
func loopbackOnly(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("worker: listen address %q: %w", addr, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("refusing to listen on %s without TLS and authentication: listen on a loopback address (127.0.0.1:0)", addr)
}
