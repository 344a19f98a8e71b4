package backend

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Unreachable says whether err is one of a network whose other end isn't there, or not any more. What a certificate or an
// address is wrong in is none.
func Unreachable(err error) bool {
	if op := new(net.OpError); errors.As(err, &op) {
		address, parse := new(net.AddrError), new(net.ParseError)
		return op.Op != "remote error" && !errors.As(op, &address) && !errors.As(op, &parse) // crypto/tls's word for an alert of the other end
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	if errors.As(err, new(*net.DNSError)) {
		return true
	}
	for _, gone := range [...]error{io.EOF, io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, context.DeadlineExceeded, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
