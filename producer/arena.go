package producer

import "sync/atomic"

// arena is memory for rendered records. When all of them have landed it is used again: a record takes some hundred
// bytes, which would be most of the garbage there is. One record that isn't acknowledged keeps all of its arena.
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
	held atomic.Int64 // arenas that are in use
	used atomic.Int64 // bytes of the records in them that are in flight
}

const (
	arenaSize = 256 << 10
	// maxFree is how many arenas are kept for later.
	maxFree = 64
)

// of returns the arena to render into, which has room for n bytes more, or for as many as it can; nil where a record is to
// have memory of its own.
func (as *arenas) of(n int) *arena {
	if as.now != nil && cap(as.now.b)-len(as.now.b) >= min(n, arenaSize) {
		return as.now
	}
	if as.now != nil {
		as.giveBack(as.now, 0, true)
		as.now = nil
	}
	if as.scattered() {
		return nil
	}
	select {
	case as.now = <-as.free:
	default:
		as.now = &arena{b: make([]byte, 0, arenaSize)}
	}
	as.held.Add(1)
	as.now.take()
	return as.now
}

// scattered reports whether the records in flight lie few to an arena, as where a partition that takes nothing has some in
// each of those that all share: more of them would fill the memory with what was acknowledged long ago.
func (as *arenas) scattered() bool {
	return (as.held.Load()-maxFree)*arenaSize > 4*as.used.Load()
}

// lend puts a record of n bytes in an arena in flight. One that has memory of its own, in a nil arena, is nothing to it.
func (as *arenas) lend(a *arena, n int) {
	if a == nil {
		return
	}
	as.used.Add(int64(n))
	a.take()
}

// giveBack ends one use of an arena, by a record of n bytes. Whole says that it was acknowledged.
func (as *arenas) giveBack(a *arena, n int, whole bool) {
	if a == nil {
		return
	}
	as.used.Add(-int64(n))
	if !whole {
		a.spoiled.Store(true)
	}
	if a.uses.Add(-1) > 0 {
		return
	}
	as.held.Add(-1)
	if a.spoiled.Load() {
		return
	}
	a.b = a.b[:0]
	select {
	case as.free <- a:
	default:
	}
}
