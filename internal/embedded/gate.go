package embedded

import (
	"errors"
	"net"
	"sync"
	"time"
)

// gate is a listener whose port can be closed and opened again while its user stays in Accept. It keeps
// the connections, so that it can cut them.
type gate struct {
	network string
	addr    net.Addr // with the port, once it is known

	mu      sync.Mutex
	ln      net.Listener // nil while cut off
	changed chan struct{}
	conns   map[*gatedConn]struct{}
	closed  bool
}

func newGate(network, addr string) (*gate, error) {
	ln, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return &gate{
		network: network, addr: ln.Addr(), ln: ln,
		changed: make(chan struct{}), conns: map[*gatedConn]struct{}{},
	}, nil
}

// Addr implements [net.Listener]. It stays the same while cut off.
func (g *gate) Addr() net.Addr { return g.addr }

// Accept implements [net.Listener]. It ends with the gate alone: its user takes any error for the end.
func (g *gate) Accept() (net.Conn, error) {
	for {
		g.mu.Lock()
		ln, changed, closed := g.ln, g.changed, g.closed
		g.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if ln == nil {
			<-changed
			continue
		}
		conn, err := ln.Accept()
		if err == nil {
			if kept := g.keep(ln, conn); kept != nil {
				return kept, nil
			}
			continue
		}
		if !errors.Is(err, net.ErrClosed) { // out of file descriptors, say: it passes
			select {
			case <-changed:
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// keep registers a connection; nil when the gate was cut while it came in.
func (g *gate) keep(ln net.Listener, conn net.Conn) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ln != ln {
		reset(conn)
		return nil
	}
	c := &gatedConn{Conn: conn, gate: g}
	g.conns[c] = struct{}{}
	return c
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut()
}

// shut closes the port and every connection. The caller holds mu.
func (g *gate) shut() {
	if g.ln == nil {
		return
	}
	_ = g.ln.Close()
	g.ln = nil
	for c := range g.conns {
		reset(c.Conn)
	}
	clear(g.conns)
	g.signal()
}

// reset closes a connection without the orderly end that tells the other side of a broker shutting down.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (g *gate) restore() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return net.ErrClosed
	}
	if g.ln != nil {
		return nil
	}
	ln, err := net.Listen(g.network, g.addr.String())
	if err != nil {
		return err
	}
	g.ln = ln
	g.signal()
	return nil
}

// signal wakes Accept. The caller holds mu.
func (g *gate) signal() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Close implements [net.Listener]. It closes the connections too, and may be called more than once.
func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	wasCut := g.ln == nil
	g.shut()
	if wasCut {
		g.signal()
	}
	return nil
}

// gatedConn leaves the gate's list when it is closed.
type gatedConn struct {
	net.Conn
	gate *gate
}

// Close implements [net.Conn].
func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
