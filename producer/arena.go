package producer

import "sync/atomic"

// arena is memory for rendered records. When all of them have landed it is used again: a record takes some hundred
// bytes, which would be most of the garbage there is.
type arena struct {
	b    []byte
	uses atomic.Int64 // of records in flight, and of whoever renders
	// spoiled says that a record of it came back. The client may still be reading what it has given up.
	spoiled atomic.Bool
}

func (a *arena) take() { a.uses.Add(1) }

// arenas gives out arenas. One goroutine renders; the records are given back by any.
type arenas struct {
	now  *arena
	free chan *arena
}

const (
	arenaSize = 256 << 10
	// maxFree is how many arenas are kept for later.
	maxFree = 64
)

// of returns the arena to render into, which has room for n bytes more, or for as many as it can.
func (as *arenas) of(n int) *arena {
	if as.now != nil && cap(as.now.b)-len(as.now.b) >= min(n, arenaSize) {
		return as.now
	}
	if as.now != nil {
		as.giveBack(as.now, true)
	}
	select {
	case as.now = <-as.free:
	default:
		as.now = &arena{b: make([]byte, 0, arenaSize)}
	}
	as.now.take()
	return as.now
}

// giveBack ends one use of an arena.
func (as *arenas) giveBack(a *arena, whole bool) {
	if !whole {
		a.spoiled.Store(true)
	}
	if a.uses.Add(-1) > 0 || a.spoiled.Load() {
		return
	}
	a.b = a.b[:0]
	select {
	case as.free <- a:
	default:
	}
}
