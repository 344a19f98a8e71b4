package producer

import (
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// wire is the network in front of a kfake: it can hang, as with a broker that was stopped, and be slow.
type wire struct {
	mu    sync.Mutex
	hung  chan struct{} // closed when it goes on; nil: it isn't hung
	delay time.Duration
}

// option has a kfake listen behind the wire.
func (w *wire) option() kfake.Opt {
	return kfake.ListenFn(func(network, addr string) (net.Listener, error) {
		l, err := net.Listen(network, addr)
		return wiredListener{l, w}, err
	})
}

func (w *wire) hang() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hung = make(chan struct{})
}

func (w *wire) goOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.hung)
	w.hung = nil
}

func (w *wire) slow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

// pass waits for as long as what comes by has to.
func (w *wire) pass() {
	w.mu.Lock()
	hung, delay := w.hung, w.delay
	w.mu.Unlock()
	if hung != nil {
		<-hung
	}
	if delay > 0 {
		<-time.After(delay)
	}
}

type wiredListener struct {
	net.Listener
	w *wire
}

// Accept implements net.Listener.
func (l wiredListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return wiredConn{c, l.w}, err
}

type wiredConn struct {
	net.Conn
	w *wire
}

// Read implements net.Conn.
func (c wiredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.pass()
	return n, err
}
