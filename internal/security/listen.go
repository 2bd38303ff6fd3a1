package security

import (
	"errors"
	"fmt"
	"net"
)

// ErrOpen is why an address is refused that others can reach.
var ErrOpen = errors.New("it can be reached from other machines")

// LoopbackOnly refuses to listen where others can reach it, while there is neither
// encryption nor authentication.
func LoopbackOnly(addr string) error {
	ok, err := loopback(addr)
	if err == nil && !ok {
		err = fmt.Errorf("refusing to listen on %s without TLS and authentication: %w; run \"divisi security init DIR\" and give it --security, or listen on a loopback address (127.0.0.1:0)", addr, ErrOpen)
	}
	return err
}

// PagesOnLoopback refuses to show pages where others can reach them: they ask nobody who
// he is. "" is no address.
func PagesOnLoopback(addr string) error {
	if addr == "" {
		return nil
	}
	ok, err := loopback(addr)
	if err == nil && !ok {
		err = fmt.Errorf("refusing to show pages on %s: %w, and pages ask nobody who he is; show them on 127.0.0.1:7071 and reach them through a tunnel (ssh -L 7071:127.0.0.1:7071)", addr, ErrOpen)
	}
	return err
}

func loopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, fmt.Errorf("listen address %q: %w", addr, err)
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback(), nil
}
